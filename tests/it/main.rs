//! Behaviour over real sockets, and the plan of the house.

mod floors;
