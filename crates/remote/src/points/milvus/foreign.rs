//! Foreign collections, which have their own schemas.

use super::server::if_exists;
use super::{Failure, Milvus, one_of, quoted};
use crate::points::foreign::{
    CopyNames, Foreign, ForeignPage, ForeignPoint, NewVector, PointRequest, Selection,
    VectorFormat, ambiguous_vector, key, texts_and_numbers, vector_of,
};
use crate::points::{BATCH, PointEngine};
use crate::retry::CallError;
use ::milvus::v2::prelude::{
    CollectionDesc, CollectionSchema, CreateCollectionRequest, DataType, DeleteRequest,
    DescribeCollectionRequest, DescribeIndexRequest, EntityRow, FieldSchema, IndexDesc, IndexParam,
    IndexType, InsertRequest, MetricType, SearchRequest, SearchVectors, UpsertRequest,
};
use kokeshi_store::{Fields, Provenance, Storage};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The name of the field that contains all fields outside the schema.
const DYNAMIC: &str = "$meta";

/// A foreign collection.
struct MilvusCollection {
    description: CollectionDesc,
    key: FieldSchema,
    /// The selected field of vectors.
    vector: FieldSchema,
}

impl MilvusCollection {
    fn fields(&self) -> impl Iterator<Item = &FieldSchema> {
        self.description.get_schema().get_fields().iter().filter(|field| !field.is_dynamic())
    }

    fn is_vector(&self, name: &str) -> bool {
        self.description.get_vector_field_names().iter().any(|vector| vector == name)
    }

    /// Names of the fields to read of a point, with the selected vector or with `all` vectors.
    fn names(&self, vector: bool, all: bool) -> Vec<String> {
        let is_read = |field: &&FieldSchema| {
            let is_selected = field.get_name() == self.vector.get_name();
            let is_vector = self.is_vector(field.get_name());
            !field.is_function_output() && (all || !is_vector || (vector && is_selected))
        };
        let mut names: Vec<String> =
            self.fields().filter(is_read).map(|field| field.get_name().to_owned()).collect();
        if self.description.get_schema().is_dynamic_field_enabled() {
            names.push(DYNAMIC.to_owned());
        }
        names
    }

    fn point(&self, row: EntityRow) -> ForeignPoint {
        let mut payload: Map<String, Value> = row;
        let id = payload.remove(self.key.get_name()).unwrap_or_default();
        let vector = payload.remove(self.vector.get_name()).unwrap_or_default();
        payload.retain(|name, _| !self.is_vector(name));
        ForeignPoint { id, payload, vector: vector_of(&vector) }
    }

    /// The condition that the key is one of `keys`.
    fn having_keys(&self, keys: &[String]) -> String {
        self.one_of(&self.key, keys)
    }

    fn one_of(&self, field: &FieldSchema, values: &[String]) -> String {
        let (_, numbers) = texts_and_numbers(values);
        match field.get_data_type() {
            DataType::VarChar => one_of(field.get_name(), values),
            _ => format!("{} in {numbers:?}", field.get_name()),
        }
    }

    fn condition(&self, selection: Selection<'_>) -> String {
        match selection {
            Selection::All => String::new(),
            Selection::Ids(keys) => self.having_keys(keys),
            Selection::Having(name, values) => {
                let own = self.fields().find(|field| field.get_name() == name);
                // A field outside the schema may be a text or a number.
                let text_or_number = || {
                    let (_, numbers) = texts_and_numbers(values);
                    let is_plain = |c: char| c == '_' || c.is_ascii_alphanumeric();
                    let name = match name.chars().all(is_plain) {
                        true => name.to_owned(),
                        false => format!("{DYNAMIC}[{}]", quoted(name)),
                    };
                    format!("({} or {name} in {numbers:?})", one_of(&name, values))
                };
                own.map_or_else(text_or_number, |field| self.one_of(field, values))
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
    /// A foreign collection; `None` if it does not exist.
    fn find(
        &self,
        collection: &str,
        fields: &Fields,
    ) -> Result<Option<MilvusCollection>, CallError> {
        let request = DescribeCollectionRequest::builder().collection_name(collection);
        let answer = self.server.call(&format!("describe {collection}"), async |client| {
            client.describe_collection(request.build()?).await
        });
        let Some(answer) = if_exists(answer)? else { return Ok(None) };
        let description = answer.description().clone();
        let all = description.get_schema().get_fields();
        let key = all.iter().find(|field| field.is_primary_key()).cloned();
        let key = key.ok_or_else(|| self.failure(format!("{collection} has no key")))?;
        let vectors: Vec<&FieldSchema> =
            all.iter().filter(|field| field.get_data_type() == DataType::FloatVector).collect();
        let is_named = |field: &&&FieldSchema| Some(field.get_name()) == fields.vector.as_deref();
        let vector = match (&fields.vector, &vectors[..]) {
            (None, [one]) => Some(*one),
            (Some(_), all) => all.iter().find(is_named).copied(),
            (None, _) => None,
        };
        let names = vectors.iter().map(|field| field.get_name());
        let Some(vector) = vector.cloned() else {
            return Err(ambiguous_vector(self.address(), collection, fields, names).into());
        };
        Ok(Some(MilvusCollection { description, key, vector }))
    }

    /// A foreign collection, which must exist.
    fn require(&self, collection: &str, fields: &Fields) -> Result<MilvusCollection, CallError> {
        self.find(collection, fields)?.ok_or_else(|| self.missing(collection))
    }

    /// The results of [`Milvus::first_results`], as rows.
    fn rows(
        &self,
        collection: &str,
        condition: &str,
        names: Vec<String>,
    ) -> Result<(Vec<EntityRow>, bool), CallError> {
        let (found, more) = self.first_results(collection, condition, names)?;
        let rows = found.get_output_rows();
        let rows = rows.map_err(|error| self.failure(format!("query {collection}: {error}")))?;
        Ok((rows, more))
    }

    /// The complete points with these keys.
    fn complete_rows(
        &self,
        collection: &str,
        found: &MilvusCollection,
        keys: &[String],
    ) -> Result<Vec<EntityRow>, CallError> {
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
        // Without an index name, the answer describes all indexes.
        let request = DescribeIndexRequest::builder().collection_name(collection);
        let answer =
            self.server.call(&format!("describe the indexes of {collection}"), async |client| {
                client.describe_index(request.build()?).await
            });
        Ok(if_exists(answer)?.map(|answer| answer.indexes().to_vec()).unwrap_or_default())
    }
}

/// The schema of a collection with vectors of another width.
fn schema(old: &MilvusCollection, dimensions: usize) -> CollectionSchema {
    let fields = old.fields().cloned().map(|field| match field.get_name() {
        name if name == old.vector.get_name() => field.dimension(dimensions as u32),
        _ => field,
    });
    old.description.get_schema().clone().fields(fields.collect())
}

/// An index with the parameters of `index`.
fn same_index(index: &IndexDesc) -> IndexParam {
    let same = IndexParam::new()
        .field_name(index.get_field_name())
        .index_name(index.get_index_name())
        .index_type(index.get_index_type())
        .extra_params(index.get_extra_params().clone());
    match index.get_metric_type() {
        MetricType::Default => same,
        metric => same.metric_type(metric),
    }
}

impl Foreign for Milvus {
    fn new_storages(&self) -> &'static [Storage] {
        &[Storage::F32]
    }

    fn vector_format(
        &self,
        collection: &str,
        fields: &Fields,
    ) -> Result<Option<VectorFormat>, CallError> {
        let found = self.find(collection, fields)?;
        Ok(found.map(|found| VectorFormat {
            dimensions: found.vector.get_dimension() as usize,
            storage: Storage::F32,
        }))
    }

    fn points(
        &self,
        request: &PointRequest<'_>,
        after: Option<&Value>,
    ) -> Result<ForeignPage, CallError> {
        let found = self.require(request.collection, request.fields)?;
        let mut conditions = vec![found.condition(request.selection)];
        conditions.extend(after.map(|last| found.after(last)));
        conditions.retain(|condition| !condition.is_empty());
        let names = found.names(request.vectors, false);
        let (rows, more) = self.rows(request.collection, &conditions.join(" and "), names)?;
        let points: Vec<ForeignPoint> = rows.into_iter().map(|row| found.point(row)).collect();
        let next = points.last().filter(|_| more).map(|point| point.id.clone());
        Ok(ForeignPage { points, next })
    }

    fn create_shadow(
        &self,
        CopyNames { old, new }: CopyNames<'_>,
        provenance: &Provenance,
        fields: &Fields,
    ) -> Result<(), CallError> {
        let found = self.require(old, fields)?;
        if found.key.is_auto_id() || found.description.get_auto_id() {
            return Err(self.not_copyable(format!(
                "the server assigns the keys of {old} (`auto_id`), so copies would get different keys"
            )));
        }
        let has_partition_key = found.fields().any(FieldSchema::is_partition_key);
        if found.description.get_num_partitions() > 1 && !has_partition_key {
            return Err(self.not_copyable(format!(
                "{old} has named partitions, and the server does not report which points are in which"
            )));
        }
        if !self.exists(new)? {
            let request = CreateCollectionRequest::builder()
                .collection_name(new)
                .description(found.description.get_description())
                .schema(schema(&found, provenance.dimensions))
                .num_shards(i32::try_from(found.description.get_num_shards()).unwrap_or(1))
                .consistency_level(found.description.get_consistency_level());
            self.server.call(&format!("create {new}"), async |client| {
                client.create_collection(request.build()?).await
            })?;
        }
        let indexes = self.indexes(old)?;
        for index in &indexes {
            self.index(new, same_index(index))?;
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
        CopyNames { old, new }: CopyNames<'_>,
        fields: &Fields,
        keys: &[String],
        new_vector: NewVector<'_>,
    ) -> Result<(), CallError> {
        let found = self.require(old, fields)?;
        let mut copies = Vec::new();
        for mut row in self.complete_rows(old, &found, keys)? {
            let point = found.point(row.clone());
            if let Some(vector) = new_vector(&point) {
                row.insert(found.vector.get_name().to_owned(), json!(vector));
                copies.push(Value::Object(row));
            }
        }
        if copies.is_empty() {
            return Ok(());
        }
        let insert = InsertRequest::builder().collection_name(new).rows(copies);
        let answer = self.server.call(&format!("write {new}"), async |client| {
            client.upsert(UpsertRequest::builder().insert(insert.build()?).build()?).await
        });
        Ok(answer.map(drop)?)
    }

    fn discard(&self, collection: &str, fields: &Fields, keys: &[String]) -> Result<(), CallError> {
        let filter = self.require(collection, fields)?.having_keys(keys);
        let request = DeleteRequest::builder().collection_name(collection).filter(filter);
        let answer = self.server.read("delete from", collection, async |client| {
            client.delete(request.clone().build()?).await
        });
        Ok(answer.map(drop)?)
    }

    fn closest(
        &self,
        request: &PointRequest<'_>,
        vector: &[f32],
        limit: usize,
        _exact: bool,
    ) -> Result<Vec<(f32, ForeignPoint)>, CallError> {
        let found = self.require(request.collection, request.fields)?;
        let search = SearchRequest::builder()
            .vector_field(found.vector.get_name())
            .vectors(SearchVectors::Float(vec![vector.to_vec()]))
            .output_fields([found.key.get_name()])
            .limit(limit as i64);
        let scored = self.scored_keys(request.collection, search)?;
        let mut points = HashMap::new();
        for keys in scored.chunks(BATCH) {
            let keys: Vec<String> = keys.iter().map(|(key, _)| key.clone()).collect();
            let request = PointRequest { selection: Selection::Ids(&keys), ..*request };
            let mut after = None;
            loop {
                let page = self.points(&request, after.as_ref())?;
                let keyed =
                    page.points.into_iter().filter_map(|point| Some((key(&point.id)?, point)));
                points.extend(keyed);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        let scored = scored.into_iter();
        Ok(scored.filter_map(|(key, score)| Some((score, points.remove(&key)?))).collect())
    }
}
