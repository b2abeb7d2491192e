//! Vectors as JSON, written directly into the buffer of a body, without a tree of values or copies
//! of base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kokeshi::{EmbeddingType, Encoded, encode};
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// The schema of a vector; [`write_vector`] writes it.
pub(crate) struct VectorSchema;

impl PartialSchema for VectorSchema {
    fn schema() -> RefOr<Schema> {
        let schemas = EmbeddingType::ALL.map(|kind| (kind.name(), schema_of(kind)));
        let several = schemas.iter().cloned().fold(
            ObjectBuilder::new().schema_type(Type::Object).min_properties(Some(1)),
            |object, (name, schema)| object.property(name, schema),
        );
        let one =
            schemas.into_iter().fold(AnyOfBuilder::new(), |any, (_, schema)| any.item(schema));
        one.item(several)
            .description(Some(
                "Numbers, or base64 of little-endian f32; for several types, an object keyed by type.",
            ))
            .into()
    }
}

impl ToSchema for VectorSchema {
    fn name() -> std::borrow::Cow<'static, str> {
        "Vector".into()
    }
}

fn schema_of(kind: EmbeddingType) -> Schema {
    let list = |items: ObjectBuilder| ArrayBuilder::new().items(items).min_items(Some(1)).into();
    let integers = |minimum: i16, maximum: i16| {
        let integer = ObjectBuilder::new().schema_type(Type::Integer);
        list(integer.minimum(Some(minimum)).maximum(Some(maximum)))
    };
    match kind {
        EmbeddingType::Float => list(ObjectBuilder::new().schema_type(Type::Number)),
        EmbeddingType::Base64 => ObjectBuilder::new().schema_type(Type::String).into(),
        EmbeddingType::Binary => integers(i8::MIN.into(), i8::MAX.into()),
        EmbeddingType::Ubinary => integers(u8::MIN.into(), u8::MAX.into()),
    }
}

/// Appends the value of `embedding`: for one type the value itself, for several types an object
/// keyed by type. (The hosted service does not document this, but its schema allows no other form.)
pub(crate) fn write_vector(out: &mut Vec<u8>, vector: &[f32], kinds: &[EmbeddingType]) {
    if let [kind] = kinds {
        return write_as(out, vector, *kind);
    }
    out.push(b'{');
    for (index, kind) in kinds.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        out.extend_from_slice(format!("{comma}\"{kind}\":").as_bytes());
        write_as(out, vector, *kind);
    }
    out.push(b'}');
}

/// The approximate maximum size of a vector of `dimensions`, in bytes, for reserving the body.
pub(crate) fn size_hint(dimensions: usize, kinds: &[EmbeddingType]) -> usize {
    let size = |kind: &EmbeddingType| match kind {
        EmbeddingType::Float => 14 * dimensions,
        EmbeddingType::Base64 => 16 * dimensions / 3,
        EmbeddingType::Binary | EmbeddingType::Ubinary => 5 * dimensions.div_ceil(8),
    };
    kinds.iter().map(size).sum::<usize>() + 64
}

fn write_as(out: &mut Vec<u8>, vector: &[f32], kind: EmbeddingType) {
    match kind {
        EmbeddingType::Float => write_floats(out, vector),
        EmbeddingType::Base64 => write_base64(out, vector),
        EmbeddingType::Binary | EmbeddingType::Ubinary => match encode(vector, kind) {
            Encoded::Binary(bytes) => {
                write_list(out, &bytes, |out, byte| integer(out, (*byte).into()));
            }
            Encoded::Ubinary(bytes) => {
                write_list(out, &bytes, |out, byte| integer(out, (*byte).into()));
            }
            Encoded::Float(_) | Encoded::Base64(_) => {}
        },
    }
}

/// Appends `[…]` with the shortest decimals that parse to the same f32.
pub(crate) fn write_floats(out: &mut Vec<u8>, vector: &[f32]) {
    let mut buffer = zmij::Buffer::new();
    write_list(out, vector, |out, value| match value.is_finite() {
        true => out.extend_from_slice(buffer.format_finite(*value).as_bytes()),
        // JSON has no other value for it; serde_json writes the same.
        false => out.extend_from_slice(b"null"),
    });
}

fn integer(out: &mut Vec<u8>, value: i16) {
    let digits = value.unsigned_abs();
    if value < 0 {
        out.push(b'-');
    }
    for power in [100, 10, 1] {
        if digits >= power || power == 1 {
            out.push(b'0' + (digits / power % 10) as u8);
        }
    }
}

fn write_list<T>(out: &mut Vec<u8>, values: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, value);
    }
    out.push(b']');
}

/// Number of floats per base64 block, a multiple of 3: three floats are 12 bytes, or 16 characters
/// without padding.
const BLOCK: usize = 48;

fn write_base64(out: &mut Vec<u8>, vector: &[f32]) {
    out.push(b'"');
    for block in vector.chunks(BLOCK) {
        let mut bytes = [0; 4 * BLOCK];
        for (slot, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(block) {
            *slot = value.to_le_bytes();
        }
        let start = out.len();
        out.resize(start + (4 * block.len()).div_ceil(3) * 4, 0);
        let written = STANDARD.encode_slice(&bytes[..4 * block.len()], &mut out[start..]);
        debug_assert_eq!(written.ok(), Some(out.len() - start), "base64 fills the reserved space");
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(vector: &[f32], kinds: &[EmbeddingType]) -> serde_json::Value {
        let mut out = Vec::new();
        write_vector(&mut out, vector, kinds);
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn floats_parse_to_the_same_bits() {
        let vector = [0.0, -0.0, 1.0, -0.1, f32::MIN_POSITIVE, 1e-45, f32::MAX, 0.333_333_34];
        let mut out = Vec::new();
        write_floats(&mut out, &vector);
        let read: Vec<f32> = serde_json::from_slice(&out).expect("JSON");
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read), bits(&vector));
    }

    #[test]
    fn base64_equals_that_of_the_engine_at_every_length() {
        for length in 0..200 {
            let vector: Vec<f32> = (0..length).map(|i| i as f32 - 0.3).collect();
            let Encoded::Base64(expected) = encode(&vector, EmbeddingType::Base64) else {
                panic!()
            };
            assert_eq!(json(&vector, &[EmbeddingType::Base64]), expected);
        }
    }

    #[test]
    fn binary_equals_that_of_the_engine() {
        let vector: Vec<f32> = (0..100).map(|i| ((i * 37) % 11) as f32 - 5.0).collect();
        let Encoded::Binary(signed) = encode(&vector, EmbeddingType::Binary) else { panic!() };
        let Encoded::Ubinary(unsigned) = encode(&vector, EmbeddingType::Ubinary) else { panic!() };
        let kinds = [EmbeddingType::Binary, EmbeddingType::Ubinary];
        assert_eq!(
            json(&vector, &kinds),
            serde_json::json!({"binary": signed, "ubinary": unsigned})
        );
        for value in -128..=255_i16 {
            let mut out = Vec::new();
            integer(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
        }
    }
}
