//! What a Pith image is.
#![no_std]
#![forbid(unsafe_code)]
