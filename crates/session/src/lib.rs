//! The client's logic, without input or output: which member to ask, when to ask again and when
//! never, how a watch goes on after a broken connection, how long a lease can be counted on.
