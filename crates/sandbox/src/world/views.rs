//! Stream views of a world's outputs, as the platform builds them: sorted copies with a manifest
//! and a receipt. The statistics in the receipt stand in for the platform's.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::interleave::interleave_record_batch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use super::World;
use super::evidence::hash_text;
use super::parts::make_folder_of;
use crate::Error;

/// The column that views are sorted by.
const TIME_COLUMN: &str = "ts_utc";

/// How the stream views of a world are built.
#[derive(Debug, Clone)]
pub struct ViewOptions {
    /// The engine run root as producers name it: views are bound to this text.
    pub engine_run_root: String,
    /// The folder of the views, one folder an output; `None` is `stream_view/ts_utc` under the
    /// engine run root.
    pub base: Option<PathBuf>,
    /// The number of files of each view; 2 by default.
    pub files: usize,
    /// Whether rows are a time and a payload, in a column `payload_json`, in place of the
    /// output's columns; off by default.
    pub payloads: bool,
}

impl ViewOptions {
    /// Views under the engine run root of a world that producers name by `engine_run_root`.
    pub fn under(engine_run_root: impl Into<String>) -> Self {
        Self {
            engine_run_root: engine_run_root.into(),
            base: None,
            files: 2,
            payloads: false,
        }
    }
}

impl World {
    /// Builds a stream view of each output that is in Parquet and has a primary key, and returns
    /// their folders.
    ///
    /// # Errors
    /// `SANDBOX_IO`.
    pub fn build_views(&self, options: &ViewOptions) -> Result<Vec<PathBuf>, Error> {
        let under_root = || self.engine_run_root().join("stream_view/ts_utc");
        let base = options.base.clone().unwrap_or_else(under_root);
        let outputs = self.streamable_output_ids().into_iter();
        outputs
            .map(|output_id| {
                let folder = base.join(format!("output_id={output_id}"));
                self.build_view(&output_id, &folder, options)?;
                Ok(folder)
            })
            .collect()
    }

    fn build_view(
        &self,
        output_id: &str,
        folder: &Path,
        options: &ViewOptions,
    ) -> Result<(), Error> {
        let parts = self.parts(output_id);
        let sorted = sorted_rows(parts).map_err(Error::io("sorting", folder))?;
        let sorted = if options.payloads {
            payloads_of(&sorted).map_err(Error::io("encoding", folder))?
        } else {
            sorted
        };
        let rows = sorted.num_rows();
        let per_file = rows.div_ceil(options.files.max(1)).max(1);
        for (number, from) in (0..rows).step_by(per_file).enumerate() {
            let file = folder.join(format!("part-{number:06}.parquet"));
            make_folder_of(&file)?;
            let slice = sorted.slice(from, per_file.min(rows - from));
            write(&file, &slice).map_err(Error::io("writing", &file))?;
        }
        let (manifest, receipt) = self.view_records(output_id, rows, options);
        for (name, record) in [
            ("_stream_sort_receipt.json", receipt),
            ("_stream_view_manifest.json", manifest),
        ] {
            let path = folder.join(name);
            std::fs::write(&path, record.to_string()).map_err(Error::io("writing", &path))?;
        }
        Ok(())
    }

    /// The manifest and the receipt of a view.
    fn view_records(&self, output_id: &str, rows: usize, options: &ViewOptions) -> (Value, Value) {
        let identity = self.identity();
        let root = &options.engine_run_root;
        let sort_keys = json!([TIME_COLUMN, "filename", "file_row_number"]);
        // serde_json sorts the keys, as the platform does.
        let view_id = hash_text(in_ascii(
            &json!({
                "engine_run_root": root,
                "scenario_id": identity.scenario_id,
                "output_id": output_id,
                "sort_keys": sort_keys,
                "partition_granularity": "flat",
            })
            .to_string(),
        ));
        let parts = self.parts(output_id).iter();
        let mut places: Vec<String> = parts
            .map(|part| {
                let key = part.strip_prefix(self.engine_run_root()).unwrap_or(part);
                format!("{root}/{}", key.display())
            })
            .collect();
        places.sort();
        let shared = json!({
            "stream_view_id": view_id,
            "engine_run_root": root,
            "stream_view_root": format!("{root}/stream_view/ts_utc/output_id={output_id}"),
            "output_id": output_id,
            "output_ids": [output_id],
            "sort_keys": sort_keys,
            "partition_granularity": "flat",
            "created_utc": "2026-01-31T09:00:00.000000Z",
        });
        let (mut manifest, mut receipt) = (shared.clone(), shared);
        manifest["engine_run_id"] = json!(identity.run_id);
        manifest["scenario_id"] = json!(identity.scenario_id);
        manifest["world_key"] = json!({
            "manifest_fingerprint": identity.manifest_fingerprint,
            "parameter_hash": identity.parameter_hash,
            "scenario_id": identity.scenario_id,
            "seed": identity.seed,
        });
        let stats = json!({"row_count": rows, "hash_sum": "1", "hash_sum2": "2"});
        receipt["raw_stats"] = stats.clone();
        receipt["sorted_stats"] = stats;
        receipt["source_locator_digest"] = json!(hash_text(places.join("\n")));
        receipt["status"] = json!("OK");
        (manifest, receipt)
    }
}

/// A JSON text with the characters beyond ASCII escaped, as the platform writes it.
fn in_ascii(json: &str) -> String {
    let escape = |unit: u16| match u8::try_from(unit) {
        Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
        _ => format!("\\u{unit:04x}"),
    };
    json.encode_utf16().map(escape).collect()
}

/// All rows of some parts, by (time in whole microseconds, part, row).
fn sorted_rows(parts: &[PathBuf]) -> std::io::Result<RecordBatch> {
    let (mut batches, mut order) = (Vec::new(), Vec::new());
    for part in parts {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(part)?)?.build()?;
        for batch in reader {
            let batch = batch.map_err(std::io::Error::other)?;
            let times = batch.column_by_name(TIME_COLUMN);
            let times = times.ok_or_else(|| std::io::Error::other("no event times"))?;
            let times = envelope::event_times("", 0, "ts_utc", times);
            let times = times.map_err(|_| std::io::Error::other("no event time"))?;
            let rows = times.iter().enumerate();
            order.extend(rows.map(|(row, time)| (time.in_whole_micros(), batches.len(), row)));
            batches.push(batch);
        }
    }
    order.sort_unstable();
    let places: Vec<_> = order.iter().map(|&(_, batch, row)| (batch, row)).collect();
    let batches: Vec<&RecordBatch> = batches.iter().collect();
    interleave_record_batch(&batches, &places).map_err(std::io::Error::other)
}

/// Rows as a time and a payload.
fn payloads_of(rows: &RecordBatch) -> std::io::Result<RecordBatch> {
    let mut writer = arrow_json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow_json::writer::LineDelimited>(Vec::new());
    writer.write(rows).map_err(std::io::Error::other)?;
    writer.finish().map_err(std::io::Error::other)?;
    let text = String::from_utf8(writer.into_inner()).map_err(std::io::Error::other)?;
    let payloads: StringArray = text.lines().map(Some).collect();
    let (place, times) = rows
        .schema_ref()
        .column_with_name(TIME_COLUMN)
        .ok_or_else(|| std::io::Error::other("no event times"))?;
    let fields = vec![
        times.clone(),
        Field::new("payload_json", DataType::Utf8, true),
    ];
    let columns = vec![rows.column(place).clone(), Arc::new(payloads) as _];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(std::io::Error::other)
}

fn write(path: &Path, rows: &RecordBatch) -> std::io::Result<()> {
    let mut writer = ArrowWriter::try_new(File::create(path)?, rows.schema(), None)?;
    writer.write(rows)?;
    writer.close()?;
    Ok(())
}
