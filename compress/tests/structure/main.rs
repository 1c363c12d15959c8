//! Passes that change a network's structure.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../lowering/builder.rs"]
mod builder;
#[path = "../real/mod.rs"]
mod real;

mod channels;
mod dead_units;
mod low_rank;
mod networks;
mod patterns;
mod trained;
mod units;
