//! The server on real sockets of the loopback interface, spoken to by tonic's client and, for
//! what no proper client sends, by hand.

mod access;
mod compat;
mod connections;
mod deposed;
mod election;
mod gateway;
mod http;
mod kv;
mod lease;
mod listeners;
mod lock;
mod maintenance;
mod member;
mod others;
mod probes;
mod range_stream;
mod reflection;
mod watch;
mod websocket;
