//! The footer of a Parquet part, and the Arrow types of its columns.
//!
//! What a footer states is looked at before the decoder gets it: counts and nesting, and
//! the Arrow schema that some writers leave in it.

use std::sync::Arc;

use arrow_schema::{Fields, SchemaRef};
use parquet::DecodeResult;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    FileMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions,
    ParquetMetaDataPushDecoder, ParquetStatisticsPolicy, RowGroupMetaData,
};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::logical_types::LogicalTypes;
use super::source::PartSource;
use super::{arrow_hint, thrift};
use crate::error::{Error, ReasonCode};
use crate::store::HeldMemory;

const FOOTER: &str = "The part's Parquet footer cannot be understood";

/// The longest offset index that is read; without it, pages are skipped by their headers.
const MAX_OFFSET_INDEX_BYTES: u64 = 16 << 20;

/// Footers that take no more than this are usual: those of some thousand columns.
const USUAL_FOOTER_BYTES: u64 = 16 << 20;
/// What a column or group of a schema takes when it is decoded, with its Arrow type.
const SCHEMA_ELEMENT_BYTES: u64 = 600;
/// What another structure takes; a column chunk has about seven.
const STRUCTURE_BYTES: u64 = 100;

/// A footer that has been read.
#[derive(Debug)]
pub(super) struct Footer {
    pub(super) metadata: ArrowReaderMetadata,
    pub(super) types: LogicalTypes,
    /// Memory for it, if it is large.
    _held: HeldMemory,
}

/// Reads the footer of a part. With its offset index, if it has one that is sound and
/// `with_offset_index` is set.
pub(super) fn read_footer(source: &PartSource, with_offset_index: bool) -> Result<Footer, Error> {
    let (metadata, held) = read_metadata(source)?;
    let metadata = if with_offset_index {
        read_offset_index(source, metadata)?
    } else {
        metadata
    };
    let metadata = in_arrow_types(source, Arc::new(metadata))?;
    let types = source.decode(FOOTER, || {
        let types = LogicalTypes::of(metadata.parquet_schema(), metadata.schema());
        Ok::<_, ParquetError>(types)
    })?;
    let metadata = match &types.read {
        Some(schema) => with_schema(source, &metadata, schema.clone())?,
        None => metadata,
    };
    Ok(Footer {
        metadata,
        types,
        _held: held,
    })
}

/// The footer of a part whose columns are read as a schema says.
pub(super) fn with_schema(
    source: &PartSource,
    metadata: &ArrowReaderMetadata,
    schema: SchemaRef,
) -> Result<ArrowReaderMetadata, Error> {
    let options = ArrowReaderOptions::new().with_schema(schema);
    source.decode(FOOTER, || {
        ArrowReaderMetadata::try_new(metadata.metadata().clone(), options)
    })
}

fn read_metadata(source: &PartSource) -> Result<(ParquetMetaData, HeldMemory), Error> {
    let mut held = source.memory().nothing();
    let options = ParquetMetaDataOptions::new()
        .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
        // Whole, not as a mask: they count the pages.
        .with_encoding_stats_as_mask(false);
    let mut decoder = source
        .decode(FOOTER, || {
            ParquetMetaDataPushDecoder::try_new(source.size())
        })?
        .with_page_index_policy(PageIndexPolicy::Skip)
        .with_metadata_options(Some(Arc::new(options)));
    loop {
        let needed = match source.decode(FOOTER, || decoder.try_decode())? {
            DecodeResult::Data(metadata) => return Ok((metadata, held)),
            DecodeResult::NeedsData(ranges) => ranges,
            DecodeResult::Finished => return Err(malformed(source, "it has no end")),
        };
        for range in needed {
            let length = range.end.saturating_sub(range.start);
            let mut hold = |bytes: u64| {
                let beyond = bytes.saturating_sub(USUAL_FOOTER_BYTES);
                let made = held.resize(beyond, || "A footer".to_owned());
                made.map_err(|error| error.object(source.name()))
            };
            hold(length)?;
            let bytes = source.read(range.start, length as usize)?;
            // The last eight bytes only say how long the footer before them is.
            if range.end < source.size() {
                let size = thrift::check_footer(&bytes);
                let size = size.map_err(|what| malformed(source, what))?;
                let columns = size.columns.saturating_mul(SCHEMA_ELEMENT_BYTES);
                let structures = size.structures.saturating_mul(STRUCTURE_BYTES);
                hold(length.saturating_add(columns).saturating_add(structures))?;
            }
            source.decode(FOOTER, || decoder.push_range(range, bytes))?;
        }
    }
}

fn read_offset_index(
    source: &PartSource,
    metadata: ParquetMetaData,
) -> Result<ParquetMetaData, Error> {
    let groups = metadata.row_groups().iter();
    let columns = groups.flat_map(RowGroupMetaData::columns);
    let indexes = columns.map(|column| {
        let start = u64::try_from(column.offset_index_offset()?).ok()?;
        let length = u64::try_from(column.offset_index_length()?).ok()?;
        Some(start..start.checked_add(length)?)
    });
    let Some(indexes) = indexes.collect::<Option<Vec<_>>>() else {
        return Ok(metadata);
    };
    let start = indexes.iter().map(|index| index.start).min();
    let end = indexes.iter().map(|index| index.end).max();
    let (start, end) = (start.unwrap_or_default(), end.unwrap_or_default());
    if end > source.size() || end - start > MAX_OFFSET_INDEX_BYTES {
        return Ok(metadata);
    }
    let bytes = source.read(start, (end - start) as usize)?;
    let are_sound = indexes.iter().all(|index| {
        let index = (index.start - start) as usize..(index.end - start) as usize;
        thrift::check_structure(&bytes[index]).is_ok()
    });
    if !are_sound {
        return Ok(metadata);
    }
    let unindexed = metadata.clone();
    let decoded = source.decode(FOOTER, || {
        let mut decoder =
            ParquetMetaDataPushDecoder::try_new_with_metadata(source.size(), metadata)?
                .with_column_index_policy(PageIndexPolicy::Skip)
                .with_offset_index_policy(PageIndexPolicy::Optional);
        decoder.push_range(start..end, bytes)?;
        decoder.try_decode()
    })?;
    Ok(match decoded {
        DecodeResult::Data(metadata) => metadata,
        _ => unindexed,
    })
}

fn malformed(source: &PartSource, what: &str) -> Error {
    Error::new(ReasonCode::OracleReadFailed, format!("{FOOTER}: {what}")).object(source.name())
}

/// A footer with the Arrow types of its columns.
fn in_arrow_types(
    source: &PartSource,
    metadata: Arc<ParquetMetaData>,
) -> Result<ArrowReaderMetadata, Error> {
    let file = metadata.file_metadata();
    let hint = source.decode(FOOTER, || Ok::<_, ParquetError>(arrow_hint::check(file)))?;
    hint.map_err(|unknown| {
        let what = format!("The Arrow schema in the part's footer is not understood: {unknown}");
        let error = Error::new(ReasonCode::OracleReadFailed, what).object(source.name());
        match &unknown.column {
            Some(column) => error.field(column),
            None => error,
        }
        .because(unknown)
    })?;
    let options = ArrowReaderOptions::new();
    let read = source.decode(FOOTER, || {
        ArrowReaderMetadata::try_new(metadata.clone(), options)
    });
    read.map_err(|error| match column_without_arrow_type(source, file) {
        Some(column) => error.field(column),
        None => error,
    })
}

/// The first column that has no Arrow type by itself; none if it is the schema as a whole
/// that is at fault.
fn column_without_arrow_type(source: &PartSource, file: &FileMetaData) -> Option<String> {
    let hint = source.decode(FOOTER, || Ok::<_, ParquetError>(arrow_hint::fields(file)));
    let hint = hint.ok()?;
    let columns = file.schema_descr().root_schema().get_fields();
    if hint
        .as_ref()
        .is_some_and(|hint| hint.len() != columns.len())
    {
        return None;
    }
    let refused = columns.iter().enumerate().find(|(at, column)| {
        let hint = hint
            .as_ref()
            .map(|hint| Fields::from(vec![hint[*at].clone()]));
        let levels = || {
            let root = Type::group_type_builder("root").with_fields(vec![TypePtr::clone(column)]);
            let alone = SchemaDescriptor::new(Arc::new(root.build()?));
            parquet_to_arrow_field_levels(&alone, ProjectionMask::all(), hint.as_ref())
        };
        source.decode(FOOTER, levels).is_err()
    });
    refused.map(|(_, column)| column.name().to_owned())
}
