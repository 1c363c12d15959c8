//! What the example programs share: recipes, and what is told of their results.

pub mod recipe;
pub mod results;
