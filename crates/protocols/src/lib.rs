//! Algorithms between members, each a machine of its own without input or output: time and
//! messages go in, messages and decisions come out.
