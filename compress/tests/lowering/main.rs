//! Graphs through `compress`, without data: the image computes what the float graph does by its
//! definitions, exactly where elements are only moved, and to stated numbers of steps of the output's
//! scale elsewhere.
#![allow(clippy::unwrap_used)]

mod arithmetic;
mod builder;
mod functions;
mod layers;
mod moves;
mod networks;
mod recurrent;
