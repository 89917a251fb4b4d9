//! Where an output goes on from, and what refuses a cursor.

use super::*;
use crate::ReasonCode;
use crate::conformance::{cursor, key};

const RUN: &str = "platform_20260128T090000Z";

fn plan(plan_digest: &str) -> ResumePlan<'_> {
    ResumePlan {
        order: OrderMode::AsWritten,
        source: RowSource::Outputs,
        view_bases: &["runs/w1/stream_view/ts_utc", "s3://views/w1"],
        view_time_ns: None,
        plan_digest,
        platform_run_id: RUN,
        roots: &["runs/w1/", "/home/op/runs/w1"],
        allow_plan_change: false,
        allow_run_change: false,
    }
}

fn refused(stored: &StoredCursor, plan: &ResumePlan<'_>) -> ReasonCode {
    resume_check(&key("resume", "o"), stored, plan)
        .unwrap_err()
        .code()
}

fn resumed(stored: &StoredCursor, plan: &ResumePlan<'_>) -> Resume {
    resume_check(&key("resume", "o"), stored, plan).unwrap()
}

fn foreign(last_file: &str) -> StoredCursor {
    StoredCursor::Foreign(ForeignCursor {
        last_file: last_file.to_owned(),
        last_row_index: 7,
        last_ts_utc: Some("2026-01-01T00:00:00Z".to_owned()),
    })
}

#[test]
fn the_same_plan_and_run_resume_with_nothing_to_tell() {
    let stored = cursor("a", 5);
    let digest = stored.plan_digest.clone();
    let resume = resumed(&StoredCursor::Ours(stored.clone()), &plan(&digest));
    assert_eq!(
        resume,
        Resume {
            cursor: stored,
            adopted: vec![]
        }
    );
}

#[test]
fn another_plan_or_run_is_refused_unless_allowed_and_then_told() {
    let stored = StoredCursor::Ours(cursor("a", 5));
    let digest = "ab".repeat(32);
    let other_plan = plan("other");
    assert_eq!(refused(&stored, &other_plan), ReasonCode::PlanMismatch);
    let other_run = ResumePlan {
        platform_run_id: "platform_20260129T090000Z",
        ..plan(&digest)
    };
    assert_eq!(refused(&stored, &other_run), ReasonCode::RunMismatch);

    let both = ResumePlan {
        allow_plan_change: true,
        allow_run_change: true,
        plan_digest: "other",
        ..other_run
    };
    let resume = resumed(&stored, &both);
    assert_eq!(resume.cursor.plan_digest, "other");
    assert_eq!(resume.cursor.platform_run_id, "platform_20260129T090000Z");
    let told = [
        Adoption::RunChanged {
            stored: RUN.to_owned(),
        },
        Adoption::PlanChanged { stored: digest },
    ];
    assert_eq!(resume.adopted, told);
}

#[test]
fn another_order_is_refused_whatever_is_allowed() {
    let plan = ResumePlan {
        order: OrderMode::EventTime,
        allow_plan_change: true,
        allow_run_change: true,
        ..plan("d")
    };
    assert_eq!(
        refused(&StoredCursor::Ours(cursor("a", 5)), &plan),
        ReasonCode::OrderMismatch
    );
    assert_eq!(refused(&foreign("a"), &plan), ReasonCode::OrderMismatch);
}

#[test]
fn the_existing_producers_cursor_adopts_this_run_and_plan() {
    for spelt in [
        "data/p.parquet",
        "runs/w1/data/p.parquet",
        "/home/op/runs/w1/data/p.parquet",
    ] {
        let resume = resumed(&foreign(spelt), &plan("d"));
        assert_eq!(resume.cursor.last_part, "data/p.parquet", "{spelt}");
        assert_eq!(resume.cursor.last_row_index, 7);
        assert_eq!(resume.cursor.order, OrderPosition::AsWritten);
        assert_eq!(
            (
                resume.cursor.platform_run_id.as_str(),
                resume.cursor.plan_digest.as_str()
            ),
            (RUN, "d")
        );
        assert_eq!(resume.adopted, [Adoption::ExistingProducer]);
    }
    for elsewhere in [
        "/home/op/runs/w10/data/p.parquet",
        "s3://worlds/w1/data/p.parquet",
    ] {
        assert_eq!(
            refused(&foreign(elsewhere), &plan("d")),
            ReasonCode::PartMissing
        );
    }
}

#[test]
fn a_cursor_of_a_view_goes_on_in_that_view_and_in_either_order() {
    let view = "output_id=o/part-000000.parquet";
    for base in ["runs/w1/stream_view/ts_utc", "s3://views/w1"] {
        let stored = foreign(&format!("{base}/{view}"));
        assert_eq!(refused(&stored, &plan("d")), ReasonCode::SourceMismatch);
        let as_written = ResumePlan {
            source: RowSource::View,
            ..plan("d")
        };
        let resume = resumed(&stored, &as_written);
        assert_eq!(resume.cursor.last_part, view);
        assert_eq!(resume.cursor.order, OrderPosition::AsWritten);
        let by_time = ResumePlan {
            order: OrderMode::EventTime,
            view_time_ns: Some(5),
            ..as_written
        };
        let resume = resumed(&stored, &by_time);
        let order = OrderPosition::EventTime { sort_time_ns: 5 };
        assert_eq!(resume.cursor.order, order);
        assert_eq!(resume.cursor.source, RowSource::View);
        assert_eq!(resume.adopted, [Adoption::ViewProducer]);
    }
    let of_outputs = foreign("runs/w1/data/p.parquet");
    let ours = StoredCursor::Ours(cursor("a", 5));
    for stored in [of_outputs, ours] {
        let from_view = ResumePlan {
            source: RowSource::View,
            ..plan("d")
        };
        assert_eq!(refused(&stored, &from_view), ReasonCode::SourceMismatch);
    }
}

#[test]
fn a_bucket_root_is_stripped_like_a_folder() {
    let roots = ["s3://worlds/w1"];
    assert_eq!(
        relative_part("s3://worlds/w1/data/p", &roots),
        Some("data/p")
    );
    assert_eq!(relative_part("s3://worlds/w10/data/p", &roots), None);
    assert_eq!(relative_part("data/p", &roots), Some("data/p"));
}

#[test]
fn a_position_must_lie_in_a_part_that_is_there() {
    let (key, stored) = (key("position", "o"), cursor("a", 5));
    let code = |rows| position_check(&key, &stored, rows).map_err(|error| error.code());
    assert_eq!(code(Some(6)), Ok(()));
    assert_eq!(code(Some(5)), Err(ReasonCode::RowPastEnd));
    assert_eq!(code(None), Err(ReasonCode::PartMissing));
}
