//! The hostile world: whole members and clients on virtual time, with every fault that has a name.
