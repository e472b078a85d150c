//! The APIs about a partition's records, over a socket, in every version that is served.

mod drop;
mod fetch;
mod fixture;
mod offsets;
mod produce;
