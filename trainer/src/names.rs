//! Names that people type: which of those there are, and which one was meant.

/// The value of a name.
///
/// # Errors
/// Which names there are, and which one may be meant.
pub fn find<T: Clone>(name: &str, known: &[(&str, T)]) -> Result<T, String> {
    let value = known.iter().find(|(k, _)| *k == name);
    value.map(|(_, value)| value.clone()).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(k, _)| *k).collect();
        format!("expected {}{}", listed(&names), meant(name, names))
    })
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// " (do you mean …?)" where one of the names is near.
pub fn meant<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let near = known
        .into_iter()
        .map(|k| (strsim::normalized_damerau_levenshtein(name, k), k))
        .filter(|(likeness, k)| *likeness > NEAR || k.starts_with(name) && !name.is_empty())
        .max_by(|a, b| a.0.total_cmp(&b.0));
    near.map_or_else(String::new, |(_, k)| format!(" (do you mean {k}?)"))
}

/// Likeness above which a name may be meant: one typing error in a word of four letters is above.
const NEAR: f64 = 0.6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_named() {
        let known = [("adam", 1), ("adamw", 2), ("nesterov", 3)];
        assert_eq!(find("adamw", &known), Ok(2));
        let error = find("nestorev", &known).expect_err("misspelt");
        assert_eq!(
            error,
            "expected adam, adamw or nesterov (do you mean nesterov?)"
        );
        assert_eq!(meant("xyzzy", ["adam"]), "");
        assert_eq!(
            meant("lenet-5", ["lenet-300-100", "lenet-5-caffe"]),
            " (do you mean lenet-5-caffe?)"
        );
    }
}
