use super::{Glance, glance};
use crate::frame::{Frame, Kind, MessageFrame};
use crate::peers::Service;
use bytes::Bytes;
use synod_env::Lane;

#[test]
fn a_message_shows_its_service_and_its_body_and_an_altered_one_nothing() {
    let frame = |kind| MessageFrame {
        kind,
        service: Service::Node as u8,
        lane: Lane::Control,
        session: 7,
        sequence: 8,
        request: 9,
        body: Bytes::from_static(b"body"),
    };
    let service = Some(Service::Node);
    let body = Bytes::from_static(b"body");
    let ask = Frame::Message(frame(Kind::Ask)).encode();
    assert_eq!(glance(&ask), Some(Glance::Ask(service, 9, body.clone())));
    let answer = Frame::Message(frame(Kind::Answer)).encode();
    assert_eq!(glance(&answer), Some(Glance::Answer(service, 9, body)));
    let mut altered = answer.to_vec();
    altered[20] ^= 4;
    assert_eq!(glance(&altered.into()), None);
}
