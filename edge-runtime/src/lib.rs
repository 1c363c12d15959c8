//! Runs a Pith image.
#![no_std]
