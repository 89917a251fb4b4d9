//! `wsp-cli verify`.

use std::process::ExitCode;

use wsp::verify::{Verdict, VerifyOptions, VerifyReport, verify};

use super::{refuse, request};
use crate::args::VerifyArgs;
use crate::output;

/// Verifies a world, prints a table for people and the report for programs.
pub async fn run(args: VerifyArgs) -> ExitCode {
    let options = VerifyOptions {
        order: args.order,
        data: args.data,
    };
    let request = match request(args.world) {
        Ok(request) => request,
        Err(error) => return refuse(&error),
    };
    match verify(&request, options).await {
        Ok(report) => {
            output::tell(format_args!("{}", table(&report)));
            output::print(&report);
            ExitCode::from(u8::from(report.status == Verdict::Fail))
        }
        Err(error) => refuse(&error),
    }
}

fn table(report: &VerifyReport) -> String {
    let mut lines = Vec::new();
    if let Some(root) = &report.engine_run_root {
        lines.push(format!("world   {root}"));
    }
    if let Some(pack) = &report.pack {
        let id = pack
            .oracle_pack_id
            .as_ref()
            .map_or("none", |id| id.as_str());
        lines.push(format!("pack    {id}, seal {:?}", pack.seal).to_lowercase());
    }
    for gate in &report.gates {
        lines.push(format!(
            "gate    {:<28} {:<4} {:>12} bytes hashed {:>6} ms",
            gate.gate_id.to_string(),
            format!("{:?}", gate.status).to_uppercase(),
            gate.bytes_hashed,
            gate.duration_ms,
        ));
    }
    for output in &report.outputs {
        let rows = output.rows.map_or("?".to_owned(), |rows| rows.to_string());
        lines.push(format!(
            "output  {:<32} {:>5} parts {:>12} rows {:>14} bytes",
            output.output_id, output.parts, rows, output.bytes,
        ));
        if let (Some(first), Some(last)) = (&output.first_ts_utc, &output.last_ts_utc) {
            lines.push(format!("        {first} to {last}, {}", output.time_order));
        }
    }
    for finding in &report.findings {
        let verdict = format!("{:?}", finding.verdict).to_uppercase();
        lines.push(format!(
            "{verdict:<7} {}: {}",
            finding.reason, finding.detail
        ));
    }
    lines.push(format!(
        "verdict {}",
        format!("{:?}", report.status).to_uppercase()
    ));
    lines.join("\n") + "\n"
}
