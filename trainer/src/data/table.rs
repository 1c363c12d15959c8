//! Tables of numbers with a label column.

use super::dataset::labelled;
use super::{DataError, Dataset};
use std::path::Path;

/// Most classes of a table.
const MAX_LABEL: u32 = 9999;

/// A CSV file, with a header line if its first line is not all numbers. The label is the last
/// column, or the one named.
pub(super) fn csv(path: &Path, label: Option<&str>) -> Result<Dataset, DataError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(|e| DataError::file(path, e))?;
    let mut column: Option<usize> = None;
    let (mut inputs, mut labels, mut width) = (Vec::new(), Vec::new(), 0);
    for (line, record) in reader.records().enumerate() {
        let record = record.map_err(|e| DataError::file(path, e.to_string().replace('\n', " ")))?;
        if line == 0 {
            width = record.len();
            let header = record.iter().any(|field| field.parse::<f32>().is_err());
            column = Some(label_column(path, &record, label, header)?);
            if header {
                continue;
            }
        }
        for (i, field) in record.iter().enumerate() {
            let wrong = || {
                DataError::file(
                    path,
                    format!("line {}: '{field}' is not a number", line + 1),
                )
            };
            let value: f32 = field.parse().map_err(|_| wrong())?;
            if Some(i) != column {
                inputs.push(value);
            } else if value.fract() == 0.0 {
                labels.push(value as i64);
            } else {
                return Err(DataError::file(
                    path,
                    format!("line {}: label {field} is not a whole number", line + 1),
                ));
            }
        }
    }
    labelled(
        path,
        vec![width.saturating_sub(1)],
        inputs,
        labels,
        MAX_LABEL,
    )
}

fn label_column(
    path: &Path,
    first: &csv::StringRecord,
    label: Option<&str>,
    header: bool,
) -> Result<usize, DataError> {
    let Some(name) = label else {
        return Ok(first.len().saturating_sub(1));
    };
    if !header {
        return Err(DataError::file(
            path,
            format!("there is no header line to find the label '{name}' in"),
        ));
    }
    let missing = || DataError::file(path, format!("there is no column '{name}'"));
    first
        .iter()
        .position(|field| field == name)
        .ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, label: Option<&str>) -> Result<Dataset, String> {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("t.csv");
        std::fs::write(&path, text).expect("writes");
        csv(&path, label).map_err(|e| e.to_string())
    }

    #[test]
    fn the_label_is_the_last_column_or_the_named_one() {
        let data = load("1,2,0\n3,4.5,1\n", None).expect("well-formed");
        assert_eq!(
            (data.inputs, data.labels),
            (vec![1.0, 2.0, 3.0, 4.5], vec![0, 1])
        );
        let data = load("kind,a,b\n2,0.5,1\n0,2,3\n", Some("kind")).expect("well-formed");
        assert_eq!(
            (data.inputs, data.labels, data.classes),
            (vec![0.5, 1.0, 2.0, 3.0], vec![2, 0], 3)
        );
    }

    #[test]
    fn every_defect_has_its_line() {
        for (text, label, line) in [
            ("1,x\n", Some("y"), "no column 'y'"),
            ("1,2\n", Some("y"), "no header line"),
            ("1,0\nfoo,1\n", None, "line 2: 'foo' is not a number"),
            ("1,0.5\n", None, "line 1: label 0.5"),
            ("1,-1\n", None, "label -1 of example 0"),
            ("1,2,0\n1,0\n", None, "found record"),
            ("", None, "no examples"),
        ] {
            let error = load(text, label).expect_err(line);
            assert!(error.contains(line), "{error}");
        }
    }
}
