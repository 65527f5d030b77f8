//! From an answer in JSON to the lines that stand for it in a case.
//!
//! Each JSON value is a line, with the members of its objects in the order of their names: JSON
//! has no order, and two servers may choose two. What belongs to one run is named as in messages:
//! the three numbers of a header become `$cluster`, `$member` and `$term`, leases that the server
//! chose `$1`, `$2`, and what is left of a lease's time stands on a line of its own.

use crate::Outcome;
use crate::answer::Names;
use crate::http::Answer;
use serde_json::Value;

/// The lines of an answer; `only` names the members of the outermost object that are shown.
pub(crate) fn lines(answer: &Answer, only: &[String], names: &mut Names) -> Outcome<Vec<String>> {
    let mut lines = vec![format!("{} {}", answer.status, answer.content_type)];
    for text in answer.body.lines().filter(|line| !line.is_empty()) {
        match serde_json::from_str::<Value>(text) {
            Ok(mut value) => {
                if let (Value::Object(members), false) = (&mut value, only.is_empty()) {
                    members.retain(|name, _| only.contains(name));
                }
                let mut left = None;
                name(&mut value, "", names, &mut left)?;
                lines.push(value.to_string());
                lines.extend(left);
            }
            Err(_) => lines.push(text.to_owned()),
        }
    }
    Ok(lines)
}

/// Puts names in the place of what belongs to one run.
fn name(value: &mut Value, member: &str, names: &mut Names, left: &mut Option<String>) -> Outcome {
    match value {
        Value::Object(members) => {
            if member == "header" {
                let number = |name: &str| members.get(name)?.as_str()?.parse().ok();
                let numbers = [
                    number("cluster_id"),
                    number("member_id"),
                    number("raft_term"),
                ];
                if let [Some(cluster), Some(id), Some(term)] = numbers
                    && names.is_head(cluster, id, term)
                {
                    for (name, shown) in [
                        ("cluster_id", "$cluster"),
                        ("member_id", "$member"),
                        ("raft_term", "$term"),
                    ] {
                        members.insert(name.to_owned(), shown.into());
                    }
                }
            }
            if members.contains_key("grantedTTL")
                && let Some(ttl) = members.remove("TTL")
            {
                *left = Some(format!("TTL<={}", ttl.as_str().unwrap_or_default()));
            }
            for (member, value) in members {
                name(value, member, names, left)?;
            }
        }
        Value::Array(values) => {
            for value in values {
                name(value, member, names, left)?;
            }
        }
        Value::String(text) => {
            if let Some(named) = text.parse().ok().and_then(|it| names.name_of(member, it)) {
                *text = named;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}
