//! What of a graph ONNX has no place for, as the model's metadata properties: how parameters come
//! about, and how values are quantized. Reals and packed integers are hexadecimal, so that they
//! survive to the bit.

use super::error::{Fault, Place, Reason};
use crate::graph::{
    Cut, Graph, Grid, HashedWeights, Parameter, Parametrization, Quantization, SignWeights, Value,
    VectorWeights,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tract_onnx::pb::StringStringEntryProto;

/// Keys of ours start with it; any other is the user's.
pub(super) const PREFIX: &str = "pith.";
const FORMAT: &str = "pith.format";
const VERSION: &str = "1";
const PARAMETER: &str = "pith.parameter.";
const VALUE: &str = "pith.value.";

/// Largest magnitude of a grid: 16 bits.
const MAX_GRID: i32 = 32767;

const WAY_OUT: &str = "another tool changed the model, \
    remove the metadata that starts with 'pith.' to import the weights alone";

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ParameterEntry {
    /// One bit per element, the first lowest.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    mask: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    shared: Option<SharedEntry>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    hashed: Option<HashedEntry>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    signs: Option<SignsEntry>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    vectors: Option<VectorsEntry>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    gains: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    grid: Option<GridEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HashedEntry {
    values: String,
    seed: u32,
    signed: bool,
}

/// The values are W, which they make again: those that training had are not kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignsEntry {
    ternary: bool,
    channels: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VectorsEntry {
    codebooks: String,
    /// Entries of each codebook.
    entries: usize,
    /// As many bits each as the largest index needs, at least one.
    indices: String,
    cut: Cut,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SharedEntry {
    codebook: String,
    /// As many bits each as the largest index needs, at least one.
    indices: String,
    pinned_zero: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GridEntry {
    scale: String,
    max: i32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuantizationEntry {
    scale: String,
    zero_point: i32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    int16: bool,
}

impl ParameterEntry {
    /// How many parametrizations are described.
    fn forms(&self) -> usize {
        let forms = [
            self.mask.is_some(),
            self.shared.is_some(),
            self.hashed.is_some(),
            self.signs.is_some(),
            self.vectors.is_some(),
        ];
        forms.into_iter().filter(|&there| there).count()
    }

    /// Whether the described form has values of its own, which gains may multiply; those of others are W.
    fn has_values(&self) -> bool {
        self.shared.is_some() || self.hashed.is_some() || self.vectors.is_some()
    }
}

/// The properties of a graph, in a fixed order.
pub(super) fn properties(graph: &Graph) -> Result<Vec<StringStringEntryProto>, serde_json::Error> {
    let mut entries: BTreeMap<String, String> = graph.metadata.clone();
    let ours = entries.len();
    for parameter in &graph.parameters {
        if let Some(entry) = parameter_entry(parameter) {
            let key = format!("{PARAMETER}{}", parameter.name);
            entries.insert(key, serde_json::to_string(&entry)?);
        }
    }
    for value in &graph.values {
        if let Some(q) = value.quantization {
            let entry = QuantizationEntry {
                scale: floats_to_hex(&[q.scale]),
                zero_point: q.zero_point,
                int16: value.int16,
            };
            let key = format!("{VALUE}{}", value.name);
            entries.insert(key, serde_json::to_string(&entry)?);
        }
    }
    if entries.len() > ours {
        entries.insert(FORMAT.to_owned(), VERSION.to_owned());
    }
    let property = |(key, value)| StringStringEntryProto { key, value };
    Ok(entries.into_iter().map(property).collect())
}

fn parameter_entry(parameter: &Parameter) -> Option<ParameterEntry> {
    let mut entry = ParameterEntry::default();
    match &parameter.parametrization {
        Parametrization::Dense { .. } | Parametrization::Clustered { .. } => {}
        Parametrization::Masked { mask, .. } => {
            let bits = mask.iter().map(|&keep| u32::from(keep));
            entry.mask = Some(pack(bits, 1));
        }
        Parametrization::Shared {
            codebook,
            indices,
            pinned_zero,
        } => {
            entry.shared = Some(SharedEntry {
                codebook: floats_to_hex(codebook),
                indices: pack(indices.iter().copied(), index_bits(codebook.len())),
                pinned_zero: *pinned_zero,
            });
        }
        // Weights that may still change their vectors are just weights.
        Parametrization::Vectors(weights) if weights.loose().is_some() => {}
        Parametrization::Vectors(weights) => {
            let indices = weights.indices().iter().copied();
            entry.vectors = Some(VectorsEntry {
                codebooks: floats_to_hex(weights.codebooks()),
                entries: weights.entries(),
                indices: pack(indices, index_bits(weights.entries())),
                cut: weights.cut(),
            });
        }
        Parametrization::Hashed(weights) => {
            let hash = weights.hash();
            entry.hashed = Some(HashedEntry {
                values: floats_to_hex(weights.values()),
                seed: hash.seed,
                signed: hash.signed,
            });
        }
        Parametrization::Signs(weights) => {
            entry.signs = Some(SignsEntry {
                ternary: weights.ternary,
                channels: weights.channels,
            });
        }
    }
    let kept = entry.has_values() && !parameter.gains.is_empty();
    entry.gains = kept.then(|| floats_to_hex(&parameter.gains));
    entry.grid = parameter.grid.as_ref().map(|grid| GridEntry {
        scale: floats_to_hex(&grid.scale),
        max: grid.max,
    });
    (entry.forms() > 0 || entry.grid.is_some()).then_some(entry)
}

/// Applies a file's properties to the graph read from it.
pub(super) fn apply(
    graph: &mut Graph,
    properties: &[StringStringEntryProto],
    reasons: &mut Vec<Reason>,
) {
    for StringStringEntryProto { key, value } in properties {
        let applied = if let Some(name) = key.strip_prefix(PARAMETER) {
            apply_parameter(graph, name, value)
        } else if let Some(name) = key.strip_prefix(VALUE) {
            apply_value(graph, name, value)
        } else if key == FORMAT && value != VERSION {
            Err(format!(
                "has version '{}', not {VERSION}",
                value.escape_debug()
            ))
        } else if key.starts_with(PREFIX) && key != FORMAT {
            Err("has no meaning here".to_owned())
        } else {
            if key != FORMAT {
                graph.metadata.insert(key.clone(), value.clone());
            }
            Ok(())
        };
        if let Err(why) = applied {
            reasons.push(Fault::new(why, WAY_OUT).at(Place::Metadata(key.clone())));
        }
    }
}

fn apply_parameter(graph: &mut Graph, name: &str, json: &str) -> Result<(), String> {
    let entry: ParameterEntry = serde_json::from_str(json).map_err(|e| e.to_string())?;
    let parameter = graph.parameters.iter_mut().find(|p| p.name == name);
    let parameter = parameter.ok_or("describes an initializer that is not there")?;
    let channels = parameter.shape.first().copied().unwrap_or(1);
    let weights = parameter.materialize();
    let described = Parameter {
        name: parameter.name.clone(),
        shape: parameter.shape.clone(),
        parametrization: parametrization(&entry, &parameter.shape, &weights)?,
        gains: gains(&entry, channels)?,
        grid: entry.grid.map(|g| grid(g, channels)).transpose()?,
    };
    if described.materialize() != weights {
        return Err("describes other weights than the initializer holds".to_owned());
    }
    *parameter = described;
    Ok(())
}

fn parametrization(
    entry: &ParameterEntry,
    shape: &[usize],
    weights: &[f32],
) -> Result<Parametrization, String> {
    if entry.forms() > 1 {
        return Err(
            "has more than one of a mask, a codebook, a hash, signs and vectors".to_owned(),
        );
    }
    let values = weights.to_vec();
    if let Some(mask) = &entry.mask {
        let bits = unpack(mask, 1, weights.len()).ok_or("has a mask of another length")?;
        let mask = bits.into_iter().map(|b| b == 1).collect();
        return Ok(Parametrization::Masked { values, mask });
    }
    if let Some(entry) = &entry.shared {
        return shared(entry, weights.len());
    }
    if let Some(entry) = &entry.hashed {
        return hashed(entry, shape, weights.len());
    }
    if let Some(entry) = &entry.signs {
        return signs(entry, shape, values);
    }
    if let Some(entry) = &entry.vectors {
        return vectors(entry, shape, weights.len());
    }
    Ok(Parametrization::Dense { values })
}

fn shared(entry: &SharedEntry, count: usize) -> Result<Parametrization, String> {
    let codebook = floats_from_hex(&entry.codebook).ok_or("has a damaged codebook")?;
    let indices = unpack(&entry.indices, index_bits(codebook.len()), count)
        .ok_or("has indices of another length")?;
    if indices.iter().any(|&i| i as usize >= codebook.len()) {
        return Err("has an index beyond the codebook".to_owned());
    }
    if entry.pinned_zero && codebook.first() != Some(&0.0) {
        return Err("has a pinned zero that is not 0".to_owned());
    }
    Ok(Parametrization::Shared {
        codebook,
        indices,
        pinned_zero: entry.pinned_zero,
    })
}

fn vectors(entry: &VectorsEntry, shape: &[usize], count: usize) -> Result<Parametrization, String> {
    let codebooks = floats_from_hex(&entry.codebooks).ok_or("has damaged codebooks")?;
    if entry.entries > codebooks.len() {
        return Err("has codebooks of another length".to_owned());
    }
    let rows = shape.first().copied().unwrap_or(1);
    let columns = count.checked_div(rows).unwrap_or(0);
    let vectors = columns
        .checked_div(entry.cut.dimension)
        .map(|_| entry.cut.vectors(columns));
    let indices = vectors.and_then(|n| rows.checked_mul(n));
    let indices = indices.and_then(|n| unpack(&entry.indices, index_bits(entry.entries), n));
    let indices = indices.ok_or("has indices of another length")?;
    let weights = VectorWeights::new(codebooks, indices, entry.cut, [rows, columns])?;
    if weights.entries() != entry.entries {
        return Err("has codebooks of another length".to_owned());
    }
    Ok(Parametrization::Vectors(weights))
}

fn hashed(entry: &HashedEntry, shape: &[usize], count: usize) -> Result<Parametrization, String> {
    let values = floats_from_hex(&entry.values).ok_or("has damaged hashed values")?;
    let rows = shape.first().copied().unwrap_or(1);
    let columns = count.checked_div(rows).unwrap_or(0);
    let weights = HashedWeights::new(values, entry.seed, entry.signed, [rows, columns])?;
    Ok(Parametrization::Hashed(weights))
}

fn signs(entry: &SignsEntry, shape: &[usize], values: Vec<f32>) -> Result<Parametrization, String> {
    let rows = shape.first().copied().unwrap_or(1);
    if entry.channels != 1 && entry.channels != rows {
        let scales = entry.channels;
        return Err(format!("has signs of {scales} scales for {rows} channels"));
    }
    Ok(Parametrization::Signs(SignWeights {
        values,
        ternary: entry.ternary,
        channels: entry.channels,
    }))
}

fn gains(entry: &ParameterEntry, channels: usize) -> Result<Vec<f32>, String> {
    let Some(hex) = &entry.gains else {
        return Ok(Vec::new());
    };
    let gains = floats_from_hex(hex).ok_or("has damaged gains")?;
    if gains.len() != channels || !entry.has_values() || gains.iter().any(|&gain| gain <= 0.0) {
        return Err(format!(
            "has gains other than {channels} positive ones of a codebook, a hash or vectors"
        ));
    }
    Ok(gains)
}

fn grid(entry: GridEntry, channels: usize) -> Result<Grid, String> {
    let scale = floats_from_hex(&entry.scale).ok_or("has a damaged scale")?;
    if scale.len() != 1 && scale.len() != channels {
        return Err(format!(
            "has {} scales for {channels} channels",
            scale.len()
        ));
    }
    if !scale.iter().all(|s| s.is_finite() && *s > 0.0) || !(1..=MAX_GRID).contains(&entry.max) {
        return Err(format!(
            "has scales that are not positive, or a maximum outside 1 to {MAX_GRID}"
        ));
    }
    let max = entry.max;
    Ok(Grid { scale, max })
}

fn apply_value(graph: &mut Graph, name: &str, json: &str) -> Result<(), String> {
    let entry: QuantizationEntry = serde_json::from_str(json).map_err(|e| e.to_string())?;
    let value: Option<&mut Value> = graph.values.iter_mut().find(|v| v.name == name);
    let value = value.ok_or("describes a value that is not there")?;
    let scale = match floats_from_hex(&entry.scale).as_deref() {
        Some(&[scale]) if scale.is_finite() && scale > 0.0 => scale,
        _ => return Err("has a scale that is not positive".to_owned()),
    };
    let zero_points = if entry.int16 { 0..=0 } else { -128..=127 };
    if !zero_points.contains(&entry.zero_point) {
        return Err(format!(
            "has a zero point of {}, outside its integers",
            entry.zero_point
        ));
    }
    value.int16 = entry.int16;
    value.quantization = Some(Quantization {
        scale,
        zero_point: entry.zero_point,
    });
    Ok(())
}

/// Bits of an index into a codebook of this length.
fn index_bits(codebook: usize) -> u32 {
    (codebook.saturating_sub(1)).max(1).ilog2() + 1
}

/// Little-endian bytes of `bits`-bit integers.
fn pack(values: impl Iterator<Item = u32>, bits: u32) -> String {
    let mut bytes = Vec::new();
    let (mut buffer, mut filled) = (0_u64, 0);
    for value in values {
        buffer |= u64::from(value) << filled;
        filled += bits;
        while filled >= 8 {
            bytes.push(buffer as u8);
            buffer >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        bytes.push(buffer as u8);
    }
    to_hex(&bytes)
}

/// Undoes [`pack`]; `None` when there are not just `count` integers.
fn unpack(hex: &str, bits: u32, count: usize) -> Option<Vec<u32>> {
    let bytes = from_hex(hex)?;
    if bytes.len() != count.checked_mul(bits as usize)?.div_ceil(8) {
        return None;
    }
    let mask = (1_u64 << bits) - 1;
    let (mut buffer, mut filled) = (0_u64, 0);
    let mut bytes = bytes.into_iter();
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        while filled < bits {
            buffer |= u64::from(bytes.next()?) << filled;
            filled += 8;
        }
        values.push((buffer & mask) as u32);
        buffer >>= bits;
        filled -= bits;
    }
    (buffer == 0).then_some(values)
}

fn floats_to_hex(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    to_hex(&bytes)
}

/// `None` when damaged or not finite.
fn floats_from_hex(hex: &str) -> Option<Vec<f32>> {
    let bytes = from_hex(hex)?;
    let (floats, rest) = bytes.as_chunks::<4>();
    let floats: Vec<f32> = floats.iter().map(|&b| f32::from_le_bytes(b)).collect();
    (rest.is_empty() && floats.iter().all(|v| v.is_finite())).then_some(floats)
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    let digits = bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]);
    digits.collect()
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let digit = |d: u8| char::from(d).to_digit(16).map(|d| d as u8);
    let byte = |&[high, low]: &[u8; 2]| Some(digit(high)? << 4 | digit(low)?);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}
