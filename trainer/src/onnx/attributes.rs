use super::error::Fault;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, TensorProto};

/// A node's attributes, read by name and kind.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(pub(super) &'a [AttributeProto]);

impl<'a> Attributes<'a> {
    /// Refuses attributes outside `known`: they might change the meaning.
    pub(super) fn check(self, known: &[&str]) -> Result<(), Fault> {
        match self.0.iter().find(|a| !known.contains(&a.name.as_str())) {
            Some(a) => Err(Fault::new(
                format!("has an unknown attribute '{}'", a.name.escape_debug()),
                "export with a standard operator set",
            )),
            None => Ok(()),
        }
    }

    fn find(self, name: &str, kind: AttributeType) -> Result<Option<&'a AttributeProto>, Fault> {
        let Some(attribute) = self.0.iter().find(|a| a.name == name) else {
            return Ok(None);
        };
        // Files of the first versions leave the kind out.
        if attribute.r#type != 0 && attribute.r#type != kind as i32 {
            return Err(Fault::new(
                format!("attribute '{name}' is not of kind {}", kind.as_str_name()),
                "export the model again",
            ));
        }
        Ok(Some(attribute))
    }

    pub(super) fn int(self, name: &str, default: i64) -> Result<i64, Fault> {
        let found = self.find(name, AttributeType::Int)?;
        Ok(found.map_or(default, |a| a.i))
    }

    pub(super) fn float(self, name: &str) -> Result<Option<f32>, Fault> {
        Ok(self.find(name, AttributeType::Float)?.map(|a| a.f))
    }

    pub(super) fn ints(self, name: &str) -> Result<Option<&'a [i64]>, Fault> {
        let found = self.find(name, AttributeType::Ints)?;
        Ok(found.map(|a| a.ints.as_slice()))
    }

    pub(super) fn floats(self, name: &str) -> Result<Option<&'a [f32]>, Fault> {
        let found = self.find(name, AttributeType::Floats)?;
        Ok(found.map(|a| a.floats.as_slice()))
    }

    pub(super) fn string(self, name: &str) -> Result<Option<&'a [u8]>, Fault> {
        let found = self.find(name, AttributeType::String)?;
        Ok(found.map(|a| a.s.as_slice()))
    }

    pub(super) fn strings(self, name: &str) -> Result<Option<&'a [Vec<u8>]>, Fault> {
        let found = self.find(name, AttributeType::Strings)?;
        Ok(found.map(|a| a.strings.as_slice()))
    }

    pub(super) fn tensor(self, name: &str) -> Result<Option<&'a TensorProto>, Fault> {
        let found = self.find(name, AttributeType::Tensor)?;
        Ok(found.and_then(|a| a.t.as_ref()))
    }
}
