//! `synod txn`: conditions and two lists of operations, in etcdctl's notation.

use super::keys::{self, DelOp, GetOp, PutOp, Show};
use super::{ClientArgs, failure, render};
use crate::exit::{Exit, Failure};
use crate::outside;
use bytes::Bytes;
use clap::Parser as _;
use synod_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use synod_api::etcdserverpb::request_op::Request;
use synod_api::etcdserverpb::response_op::Response;
use synod_api::etcdserverpb::{Compare, RequestOp, ResponseOp, TxnRequest, TxnResponse};

/// Do one of two lists of operations at once, depending on conditions.
///
/// Read from standard input, three parts, each ended by an empty line: conditions
/// (`mod("k") = "3"`; also create, version, value, lease; = != < >), operations if
/// all hold, operations if not (`put k v`, `get k`, `del k`, with their flags).
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Txn {
    #[command(flatten)]
    client: ClientArgs,
}

impl Txn {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let usage = |what: String| Failure::new(Exit::Usage, format!("txn: {what}"));
        let text = outside::read_stdin()
            .map_err(|error| Failure::other(format!("cannot read standard input: {error}")))?;
        let text = String::from_utf8(text).map_err(|_| usage("input is not UTF-8".into()))?;
        let request = parse(&text).map_err(usage)?;
        let client = self.client.connect()?;
        let reply = client.txn(request).await.map_err(failure)?;
        render::answer(self.client.form, || render::txn(&reply), || text_of(&reply));
        Ok(())
    }
}

/// SUCCESS or FAILURE, then each answer behind an empty line.
fn text_of(reply: &TxnResponse) -> Vec<u8> {
    let mut text: Vec<u8> = if reply.succeeded {
        b"SUCCESS\n"
    } else {
        b"FAILURE\n"
    }
    .to_vec();
    for ResponseOp { response } in &reply.responses {
        text.push(b'\n');
        match response {
            Some(Response::ResponseRange(reply)) => {
                text.extend(keys::range_text(reply, Show::ALL));
            }
            Some(Response::ResponsePut(reply)) => text.extend(keys::put_text(reply)),
            Some(Response::ResponseDeleteRange(reply)) => text.extend(keys::delete_text(reply)),
            Some(Response::ResponseTxn(reply)) => text.extend(text_of(reply)),
            None => {}
        }
    }
    text
}

/// Reads the three parts. Lines that only title a part (`compares:`) are passed over, so that a
/// session with etcdctl can be pasted.
///
/// # Errors
/// A sentence with the line.
pub(super) fn parse(text: &str) -> Result<TxnRequest, String> {
    let mut request = TxnRequest::default();
    let mut part = 0;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let at = |what: String| format!("line {}: {what}", number + 1);
        match (part, line) {
            (0..=2, "") => part += 1,
            (_, "") => {}
            _ if line.ends_with(':') && !line.contains('"') => {}
            (0, _) => request.compare.push(comparison(line).map_err(at)?),
            (1, _) => request.success.push(operation(line).map_err(at)?),
            (2, _) => request.failure.push(operation(line).map_err(at)?),
            _ => return Err(at("a fourth part; there are three".into())),
        }
    }
    Ok(request)
}

/// `mod("key") > "3"`.
fn comparison(line: &str) -> Result<Compare, String> {
    let form = || format!("`{line}` is not of the form mod(\"key\") = \"3\"");
    let (target, rest) = line.split_once('(').ok_or_else(form)?;
    let (key, rest) = first_word(rest, ")").ok_or_else(form)?;
    let rest = rest
        .trim_start()
        .strip_prefix(')')
        .ok_or_else(form)?
        .trim_start();
    const RESULTS: [(&str, CompareResult); 4] = [
        ("!=", CompareResult::NotEqual),
        ("=", CompareResult::Equal),
        ("<", CompareResult::Less),
        (">", CompareResult::Greater),
    ];
    let (result, rest) = RESULTS
        .into_iter()
        .find_map(|(sign, result)| Some((result, rest.strip_prefix(sign)?)))
        .ok_or_else(form)?;
    let (operand, rest) = first_word(rest.trim_start(), "").ok_or_else(form)?;
    if !rest.trim().is_empty() {
        return Err(form());
    }
    let number = || {
        let text = String::from_utf8_lossy(&operand);
        text.parse::<i64>()
            .map_err(|_| format!("`{text}` is not a number"))
    };
    let (target, union) = match target.trim() {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number()?)),
        "c" | "create" => (
            CompareTarget::Create,
            TargetUnion::CreateRevision(number()?),
        ),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number()?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(operand.into())),
        "lease" => {
            let id = super::lease::lease_id(&String::from_utf8_lossy(&operand))?;
            (CompareTarget::Lease, TargetUnion::Lease(id))
        }
        other => {
            return Err(format!(
                "`{other}`: compare value, version, create, mod or lease"
            ));
        }
    };
    Ok(Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        range_end: Bytes::new(),
        target_union: Some(union),
    })
}

/// An operation with the flags it has as a command.
#[derive(clap::Parser, Debug)]
#[command(
    no_binary_name = true,
    disable_help_flag = true,
    disable_help_subcommand = true
)]
enum Operation {
    Put(PutOp),
    Get(GetOp),
    Del(DelOp),
}

fn operation(line: &str) -> Result<RequestOp, String> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut words = Vec::new();
    let mut rest = line;
    while !rest.trim_start().is_empty() {
        let (word, behind) = first_word(rest.trim_start(), "")
            .ok_or_else(|| format!("`{line}`: a quote is open"))?;
        words.push(std::ffi::OsString::from_vec(word));
        rest = behind;
    }
    let operation = Operation::try_parse_from(words).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        format!("`{line}`: {}", first.trim_start_matches("error: "))
    })?;
    let request = match operation {
        Operation::Get(get) => Request::RequestRange(get.request()),
        Operation::Del(del) => Request::RequestDeleteRange(del.request()),
        Operation::Put(put) => {
            let missing = || Failure::new(Exit::Usage, format!("`{line}`: needs a value"));
            let request = put
                .request(|| Err(missing()))
                .map_err(|failure| failure.message)?;
            Request::RequestPut(request)
        }
    };
    Ok(RequestOp {
        request: Some(request),
    })
}

/// The first word, and what follows it. In double quotes a word may hold anything, with the
/// escapes `\"`, `\\`, `\n`, `\t` and `\xHH`; in single quotes it stands as it is; without quotes
/// it ends before white space or one of `stops`.
fn first_word<'a>(text: &'a str, stops: &str) -> Option<(Vec<u8>, &'a str)> {
    if let Some(rest) = text.strip_prefix('\'') {
        let (word, behind) = rest.split_once('\'')?;
        return Some((word.as_bytes().to_vec(), behind));
    }
    let Some(rest) = text.strip_prefix('"') else {
        let ends = |c: char| c.is_whitespace() || stops.contains(c);
        let end = text.find(ends).unwrap_or(text.len());
        return (end > 0).then(|| (text.as_bytes()[..end].to_vec(), &text[end..]));
    };
    let mut word = Vec::new();
    let mut bytes = rest.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((word, &rest[at + 1..])),
            b'\\' => match bytes.next()?.1 {
                b'n' => word.push(b'\n'),
                b't' => word.push(b'\t'),
                b'x' => {
                    let high = char::from(bytes.next()?.1).to_digit(16)?;
                    let low = char::from(bytes.next()?.1).to_digit(16)?;
                    word.push(u8::try_from(high * 16 + low).ok()?);
                }
                plain => word.push(plain),
            },
            plain => word.push(plain),
        }
    }
    None
}
