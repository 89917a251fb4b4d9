//! Writing parts: Parquet or JSON lines, several at once.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::options::{Compression, OutputOptions};
use super::rows::RowSource;
use crate::Error;

/// Rows built at a time: small enough to stay in the cache, whatever the row group.
const BATCH_ROWS: u64 = 4_096;

/// One output, ready to be written.
pub(crate) struct OutputPlan<'a> {
    pub(crate) options: &'a OutputOptions,
    pub(crate) source: RowSource<'a>,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) json_lines: bool,
}

/// Writes every part of every output; the first failure stops it.
pub(crate) fn write_all(plans: &[OutputPlan<'_>], threads: usize) -> Result<(), Error> {
    let jobs: Vec<(&OutputPlan<'_>, usize)> = plans
        .iter()
        .flat_map(|plan| (0..plan.files.len()).map(move |part| (plan, part)))
        .collect();
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| {
                while let Some((plan, part)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = write_part(plan, *part) {
                        next.store(jobs.len(), Ordering::Relaxed);
                        *failure
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
                    }
                }
            });
        }
    });
    let failure = failure
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    failure.map_or(Ok(()), Err)
}

fn write_part(plan: &OutputPlan<'_>, part: usize) -> Result<(), Error> {
    let path = &plan.files[part];
    make_folder_of(path)?;
    let file = File::create(path).map_err(Error::io("creating", path))?;
    let file = BufWriter::with_capacity(1 << 18, file);
    let written = if plan.json_lines {
        write_json_lines(plan, part, file)
    } else {
        write_parquet(plan, part, file)
    };
    written.map_err(Error::io("writing", path))
}

pub(crate) fn make_folder_of(path: &Path) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io("making the folder", folder))
}

fn batches(plan: &OutputPlan<'_>) -> impl Iterator<Item = std::ops::Range<u64>> + use<> {
    let rows = plan.options.rows_per_part;
    (0..rows)
        .step_by(BATCH_ROWS as usize)
        .map(move |from| from..rows.min(from + BATCH_ROWS))
}

fn write_parquet(
    plan: &OutputPlan<'_>,
    part: usize,
    file: impl Write + Send,
) -> std::io::Result<()> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(plan.options.row_group_rows.max(1)))
        .set_compression(codec(plan.options.compression, part))
        .build();
    let mut writer = ArrowWriter::try_new(file, plan.source.schema.clone(), Some(properties))?;
    for rows in batches(plan) {
        let batch = plan
            .source
            .batch(part, rows)
            .map_err(std::io::Error::other)?;
        writer.write(&batch)?;
    }
    writer.close()?;
    Ok(())
}

fn write_json_lines(plan: &OutputPlan<'_>, part: usize, file: impl Write) -> std::io::Result<()> {
    let mut writer = arrow_json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow_json::writer::LineDelimited>(file);
    for rows in batches(plan) {
        let batch = plan
            .source
            .batch(part, rows)
            .map_err(std::io::Error::other)?;
        writer.write(&batch).map_err(std::io::Error::other)?;
    }
    writer.finish().map_err(std::io::Error::other)?;
    writer.into_inner().flush()
}

fn codec(compression: Compression, part: usize) -> ParquetCompression {
    match compression {
        Compression::None => ParquetCompression::UNCOMPRESSED,
        Compression::Zstd => ParquetCompression::ZSTD(ZstdLevel::default()),
        Compression::Lz4 => ParquetCompression::LZ4_RAW,
        Compression::Alternating if part.is_multiple_of(2) => codec(Compression::Zstd, part),
        Compression::Snappy | Compression::Alternating => ParquetCompression::SNAPPY,
    }
}
