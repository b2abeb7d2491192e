//! Collections of other programs, whose fields are as their schema says.

use super::{Failure, Milvus, one_of, quoted, there};
use crate::error::Error;
use crate::fields::Fields;
use crate::points::foreign::{
    Foreign, Look, Part, Point, Shape, Vectors, Which, either, key, numbers, unclear,
};
use crate::points::{BATCH, Engine};
use crate::provenance::Provenance;
use crate::retry::Fault;
use crate::storage::Storage;
use ::milvus::v2::prelude::{
    CollectionDesc, CollectionSchema, CreateCollectionRequest, DataType, DeleteRequest,
    DescribeCollectionRequest, DescribeIndexRequest, EntityRow, FieldSchema, IndexDesc, IndexParam,
    IndexType, InsertRequest, MetricType, SearchRequest, SearchVectors, UpsertRequest,
};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// What the fields are called that no schema names.
const DYNAMIC: &str = "$meta";

/// A collection of another program.
struct Found {
    told: CollectionDesc,
    key: FieldSchema,
    /// The field of vectors that is meant.
    vector: FieldSchema,
}

impl Found {
    fn fields(&self) -> impl Iterator<Item = &FieldSchema> {
        self.told.get_schema().get_fields().iter().filter(|field| !field.is_dynamic())
    }

    fn is_vector(&self, name: &str) -> bool {
        self.told.get_vector_field_names().iter().any(|vector| vector == name)
    }

    /// Names of what is read of a point: with `all`, its vectors too.
    fn names(&self, vector: bool, all: bool) -> Vec<String> {
        let wanted = |field: &&FieldSchema| {
            let is_meant = field.get_name() == self.vector.get_name();
            let is_vector = self.is_vector(field.get_name());
            !field.is_function_output() && (all || !is_vector || (vector && is_meant))
        };
        let mut names: Vec<String> =
            self.fields().filter(wanted).map(|field| field.get_name().to_owned()).collect();
        if self.told.get_schema().is_dynamic_field_enabled() {
            names.push(DYNAMIC.to_owned());
        }
        names
    }

    fn point(&self, row: EntityRow) -> Point {
        let mut payload: Map<String, Value> = row;
        let id = payload.remove(self.key.get_name()).unwrap_or_default();
        let vector = payload.remove(self.vector.get_name()).unwrap_or_default();
        payload.retain(|name, _| !self.is_vector(name));
        Point { id, payload, vector: numbers(&vector) }
    }

    /// The condition that the key is one of `keys`.
    fn having_keys(&self, keys: &[String]) -> String {
        self.one_of(&self.key, keys)
    }

    fn one_of(&self, field: &FieldSchema, values: &[String]) -> String {
        let (_, numbers) = either(values);
        match field.get_data_type() {
            DataType::VarChar => one_of(field.get_name(), values),
            _ => format!("{} in {numbers:?}", field.get_name()),
        }
    }

    fn condition(&self, which: Which<'_>) -> String {
        match which {
            Which::All => String::new(),
            Which::Ids(keys) => self.having_keys(keys),
            Which::Having(name, values) => {
                let own = self.fields().find(|field| field.get_name() == name);
                // What no schema names may be a text or a number.
                let either_way = || {
                    let (_, numbers) = either(values);
                    let plain = |letter: char| letter == '_' || letter.is_ascii_alphanumeric();
                    let name = match name.chars().all(plain) {
                        true => name.to_owned(),
                        false => format!("{DYNAMIC}[{}]", quoted(name)),
                    };
                    format!("({} or {name} in {numbers:?})", one_of(&name, values))
                };
                own.map_or_else(either_way, |field| self.one_of(field, values))
            }
        }
    }

    /// The condition that the key comes after `last`.
    fn after(&self, last: &Value) -> String {
        let last = last.as_str().map_or_else(|| last.to_string(), quoted);
        format!("{} > {last}", self.key.get_name())
    }
}

impl Milvus {
    fn failed(&self, reason: String) -> Fault {
        Error::Server { store: self.address(), reason }.into()
    }

    /// `None` if there is no such collection.
    fn found(&self, collection: &str, fields: &Fields) -> Result<Option<Found>, Fault> {
        let request = DescribeCollectionRequest::builder().collection_name(collection);
        let answer = self.server.call(&format!("look at {collection}"), async |client| {
            client.describe_collection(request.build()?).await
        });
        let Some(answer) = there(answer)? else { return Ok(None) };
        let told = answer.description().clone();
        let all = told.get_schema().get_fields();
        let key = all.iter().find(|field| field.is_primary_key()).cloned();
        let key = key.ok_or_else(|| self.failed(format!("{collection} has no key")))?;
        let vectors: Vec<&FieldSchema> =
            all.iter().filter(|field| field.get_data_type() == DataType::FloatVector).collect();
        let wanted = |field: &&&FieldSchema| Some(field.get_name()) == fields.vector.as_deref();
        let vector = match (&fields.vector, &vectors[..]) {
            (None, [one]) => Some(*one),
            (Some(_), all) => all.iter().find(wanted).copied(),
            (None, _) => None,
        };
        let names = vectors.iter().map(|field| field.get_name());
        let vector = vector.cloned();
        let vector = vector.ok_or_else(|| self.failed(unclear(collection, fields, names)))?;
        Ok(Some(Found { told, key, vector }))
    }

    /// As [`Self::found`], of a collection that must be there.
    fn known(&self, collection: &str, fields: &Fields) -> Result<Found, Fault> {
        let gone = || self.failed(format!("there is no collection {collection} any more"));
        self.found(collection, fields)?.ok_or_else(gone)
    }

    /// As [`Milvus::some`], field by field.
    fn rows(
        &self,
        collection: &str,
        condition: &str,
        names: Vec<String>,
    ) -> Result<(Vec<EntityRow>, bool), Fault> {
        let (found, more) = self.some(collection, condition, names)?;
        let rows = found.get_output_rows();
        let rows = rows.map_err(|error| self.failed(format!("query {collection}: {error}")))?;
        Ok((rows, more))
    }

    /// All points `keys`, whole.
    fn whole(
        &self,
        collection: &str,
        found: &Found,
        keys: &[String],
    ) -> Result<Vec<EntityRow>, Fault> {
        let mut all = Vec::new();
        let mut condition = found.having_keys(keys);
        loop {
            let (rows, more) = self.rows(collection, &condition, found.names(true, true))?;
            let last = rows.last().and_then(|row| row.get(found.key.get_name()).cloned());
            all.extend(rows);
            match last.filter(|_| more) {
                Some(last) => {
                    let after = found.after(&last);
                    condition = format!("{} and {after}", found.having_keys(keys));
                }
                None => return Ok(all),
            }
        }
    }

    fn indexes(&self, collection: &str) -> Result<Vec<IndexDesc>, Failure> {
        // Without the name of one, it tells of all.
        let request = DescribeIndexRequest::builder().collection_name(collection);
        let answer =
            self.server.call(&format!("look at indexes of {collection}"), async |client| {
                client.describe_index(request.build()?).await
            });
        Ok(there(answer)?.map(|answer| answer.indexes().to_vec()).unwrap_or_default())
    }
}

/// The schema of a collection with vectors of another width.
fn schema(found: &Found, dimensions: usize) -> CollectionSchema {
    let fields = found.fields().cloned().map(|field| match field.get_name() {
        name if name == found.vector.get_name() => field.dimension(dimensions as u32),
        _ => field,
    });
    found.told.get_schema().clone().fields(fields.collect())
}

impl Foreign for Milvus {
    fn kinds(&self) -> &'static [Storage] {
        &[Storage::F32]
    }

    fn shape(&self, collection: &str, fields: &Fields) -> Result<Option<Shape>, Fault> {
        let found = self.found(collection, fields)?;
        Ok(found.map(|found| Shape {
            dimensions: found.vector.get_dimension() as usize,
            storage: Storage::F32,
        }))
    }

    fn points(&self, look: &Look<'_>, after: Option<&Value>) -> Result<Part, Fault> {
        let found = self.known(look.collection, look.fields)?;
        let mut conditions = vec![found.condition(look.which)];
        conditions.extend(after.map(|last| found.after(last)));
        conditions.retain(|condition| !condition.is_empty());
        let names = found.names(look.vectors, false);
        let (rows, more) = self.rows(look.collection, &conditions.join(" and "), names)?;
        let points: Vec<Point> = rows.into_iter().map(|row| found.point(row)).collect();
        let next = points.last().filter(|_| more).map(|point| point.id.clone());
        Ok(Part { points, next })
    }

    fn make_like(
        &self,
        (old, new): (&str, &str),
        made: &Provenance,
        fields: &Fields,
    ) -> Result<(), Fault> {
        let found = self.known(old, fields)?;
        if found.key.is_auto_id() || found.told.get_auto_id() {
            return Err(self.failed(format!(
                "the server makes the keys of {old} (`auto_id`), so that copies would get others: move \
                 it into a collection of kokeshi's with --source"
            )));
        }
        let divided = found.fields().any(FieldSchema::is_partition_key);
        if found.told.get_num_partitions() > 1 && !divided {
            return Err(self.failed(format!(
                "{old} has partitions with names, which copies would not be in: move it into a \
                 collection of kokeshi's with --source"
            )));
        }
        if !self.is_there(new)? {
            let request = CreateCollectionRequest::builder()
                .collection_name(new)
                .description(found.told.get_description())
                .schema(schema(&found, made.dimensions))
                .num_shards(i32::try_from(found.told.get_num_shards()).unwrap_or(1))
                .consistency_level(found.told.get_consistency_level());
            self.server.call(&format!("make {new}"), async |client| {
                client.create_collection(request.build()?).await
            })?;
        }
        let indexes = self.indexes(old)?;
        for index in &indexes {
            let like = IndexParam::new()
                .field_name(index.get_field_name())
                .index_name(index.get_index_name())
                .index_type(index.get_index_type())
                .extra_params(index.get_extra_params().clone());
            let metric = index.get_metric_type();
            self.index(
                new,
                if metric == MetricType::Default { like } else { like.metric_type(metric) },
            )?;
        }
        if !indexes.iter().any(|index| index.get_field_name() == found.vector.get_name()) {
            let index = IndexParam::new()
                .field_name(found.vector.get_name())
                .index_type(IndexType::AutoIndex)
                .metric_type(MetricType::Cosine);
            self.index(new, index)?;
        }
        Ok(self.server.load(new)?)
    }

    fn copy(
        &self,
        (old, new): (&str, &str),
        fields: &Fields,
        keys: &[String],
        vectors: Vectors<'_>,
    ) -> Result<(), Fault> {
        let found = self.known(old, fields)?;
        let mut copies = Vec::new();
        for mut row in self.whole(old, &found, keys)? {
            let point = found.point(row.clone());
            if let Some(vector) = vectors(&point) {
                row.insert(found.vector.get_name().to_owned(), json!(vector));
                copies.push(Value::Object(row));
            }
        }
        if copies.is_empty() {
            return Ok(());
        }
        let rows = InsertRequest::builder().collection_name(new).rows(copies);
        let answer = self.server.call(&format!("write {new}"), async |client| {
            client.upsert(UpsertRequest::builder().insert(rows.build()?).build()?).await
        });
        Ok(answer.map(drop)?)
    }

    fn discard(&self, collection: &str, fields: &Fields, keys: &[String]) -> Result<(), Fault> {
        let filter = self.known(collection, fields)?.having_keys(keys);
        let request = DeleteRequest::builder().collection_name(collection).filter(filter);
        let answer = self.server.read("delete from", collection, async |client| {
            client.delete(request.clone().build()?).await
        });
        Ok(answer.map(drop)?)
    }

    fn closest(
        &self,
        look: &Look<'_>,
        vector: &[f32],
        (limit, _exact): (usize, bool),
    ) -> Result<Vec<(f32, Point)>, Fault> {
        let found = self.known(look.collection, look.fields)?;
        let request = SearchRequest::builder()
            .vector_field(found.vector.get_name())
            .vectors(SearchVectors::Float(vec![vector.to_vec()]))
            .output_fields([found.key.get_name()])
            .limit(limit as i64);
        let scored = self.scored(look.collection, request)?;
        let mut points = HashMap::new();
        for keys in scored.chunks(BATCH) {
            let keys: Vec<String> = keys.iter().map(|(key, _)| key.clone()).collect();
            let look = Look { which: Which::Ids(&keys), ..*look };
            let mut after = None;
            loop {
                let part = self.points(&look, after.as_ref())?;
                let keyed = part.points.into_iter().filter_map(|one| Some((key(&one.id)?, one)));
                points.extend(keyed);
                after = part.next;
                if after.is_none() {
                    break;
                }
            }
        }
        let scored = scored.into_iter();
        Ok(scored.filter_map(|(key, score)| Some((score, points.remove(&key)?))).collect())
    }
}
