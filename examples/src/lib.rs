//! What the example programs share: recipes.

pub mod recipe;
