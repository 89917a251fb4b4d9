//! Finding a world's facts and parts.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use oracle_store::{
    DataPlaces, ObjectStoreConfig, OutputId, PartFormat, ReasonCode, RunReceipt, WorldStore,
    locate, resolve_scenario_id,
};

use crate::s3_server::{BUCKET, S3Server};
use crate::world::*;

async fn locate_code(world: &TestWorld, output_id: &str) -> ReasonCode {
    let catalogue = catalogue();
    let entry = catalogue.output(&OutputId::new(output_id)).unwrap();
    let error = locate(&world.store, entry, &tokens()).await.unwrap_err();
    assert!(error.to_string().contains(output_id), "{error}");
    error.code()
}

#[tokio::test]
async fn parts_come_in_name_order_with_their_pins() {
    on_each_backend(&small_world(), async |backend, world| {
        let flows = world.locate("flows").await;
        let names: Vec<_> = flows
            .parts
            .iter()
            .map(|part| part.path().to_owned())
            .collect();
        let expected = ["000000", "000001", "000010"].map(|n| format!("{FLOWS}/part-{n}.parquet"));
        assert_eq!(names, expected, "{backend}");
        assert_eq!(flows.format, PartFormat::Parquet);
        let lengths: u64 = small_world()
            .iter()
            .filter(|(key, _)| key.starts_with(FLOWS))
            .map(|(_, b)| b.len() as u64)
            .sum();
        assert_eq!(flows.bytes(), lengths);
        assert!(flows.parts.iter().all(|part| !part.pin().etag.is_empty()));

        let lines = world.locate("lines").await;
        assert_eq!(lines.format, PartFormat::Jsonl);
        assert_eq!(lines.parts.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_output_that_cannot_be_located_says_why() {
    on_each_backend(&[], async |_, world| {
        assert_eq!(locate_code(&world, "flows").await, ReasonCode::OutputEmpty);
        assert_eq!(locate_code(&world, "single").await, ReasonCode::OutputEmpty);
        assert_eq!(
            locate_code(&world, "daily").await,
            ReasonCode::TemplateTokenMissing
        );
        assert_eq!(
            locate_code(&world, "nowhere").await,
            ReasonCode::OutputTemplateMissing
        );

        world.put(&format!("{LINES}/_SUCCESS"), "").await;
        world.put(&format!("{LINES}/below/a.jsonl"), "{}").await;
        assert_eq!(locate_code(&world, "lines").await, ReasonCode::OutputEmpty);
        world.put(&format!("{LINES}/a.csv"), "a").await;
        assert_eq!(
            locate_code(&world, "lines").await,
            ReasonCode::UnsupportedOutputFormat
        );
        world.remove(&format!("{LINES}/a.csv")).await;
        world.put(&format!("{LINES}/a.jsonl"), "{}").await;
        world.put(&format!("{LINES}/b.parquet"), "{}").await;
        assert_eq!(
            locate_code(&world, "lines").await,
            ReasonCode::UnsupportedOutputFormat
        );
    })
    .await;
}

#[tokio::test]
async fn a_folder_in_the_place_of_a_part_is_refused_with_its_path() {
    let cases = [
        ("flows", FLOWS, "part-000005.parquet"),
        ("lines", LINES, "part-1.jsonl"),
        ("lines", LINES, "part-1.parquet"),
    ];
    for (output, folder, name) in cases {
        on_each_backend(&small_world(), async |backend, world| {
            let inner = format!("{folder}/{name}/part-00000-abc.parquet");
            world.put(&inner, "rows").await;
            let catalogue = catalogue();
            let entry = catalogue.output(&OutputId::new(output)).unwrap();
            let error = locate(&world.store, entry, &tokens()).await.unwrap_err();
            assert_eq!(
                error.code(),
                ReasonCode::UnsupportedOutputFormat,
                "{backend}"
            );
            let full_name = world.store.full_name(&format!("{folder}/{name}"));
            assert_eq!(error.object_name(), Some(full_name.as_str()));
            assert!(error.to_string().contains("folder"), "{error}");

            let places = DataPlaces::of(&catalogue, &tokens());
            let error = places.refuse_folders(&world.store).await.unwrap_err();
            assert_eq!(error.object_name(), Some(full_name.as_str()), "{backend}");
        })
        .await;
    }
}

#[tokio::test]
async fn an_empty_folder_in_the_place_of_a_part_is_refused_with_its_path() {
    let places = [
        ("flows", format!("{FLOWS}/part-000005.parquet")),
        ("lines", format!("{LINES}/part-1.jsonl")),
        ("single", "data/single.parquet".to_owned()),
    ];
    for (output, folder) in places {
        let world = TestWorld::on_disk(&small_world()).await;
        std::fs::create_dir_all(world.folder().join(&folder)).unwrap();
        let catalogue = catalogue();
        let entry = catalogue.output(&OutputId::new(output)).unwrap();
        let located = locate(&world.store, entry, &tokens()).await.unwrap_err();
        let places = DataPlaces::of(&catalogue, &tokens());
        let anywhere = places.refuse_folders(&world.store).await.unwrap_err();
        let full_name = world.store.full_name(&folder);
        let is_named = |error: &oracle_store::Error| {
            assert_eq!(error.code(), ReasonCode::UnsupportedOutputFormat);
            assert_eq!(error.object_name(), Some(full_name.as_str()));
        };
        is_named(&anywhere);
        match output {
            // Where one file is named, nothing is listed: there is no such file.
            "single" => assert_eq!(located.code(), ReasonCode::OutputEmpty),
            _ => is_named(&located),
        }
    }
}

#[tokio::test]
async fn a_tree_has_every_folder() {
    on_each_backend(&small_world(), async |backend, world| {
        let tree = world.store.list_tree("").await.unwrap();
        assert_eq!(tree.objects, world.store.list_under("").await.unwrap());
        let folders = [
            "data",
            "data/layer3",
            "data/layer3/6B",
            "data/layer3/6B/flows",
            "data/layer3/6B/flows/seed=7",
            FLOWS,
            "data/layer3/6B/lines",
            LINES,
        ];
        assert_eq!(tree.folders, folders, "{backend}");
    })
    .await;
    let world = TestWorld::on_disk(&small_world()).await;
    std::fs::create_dir_all(world.folder().join("data/empty/within")).unwrap();
    let tree = world.store.list_tree("data/empty").await.unwrap();
    assert_eq!(tree.folders, ["data/empty/within"]);
}

#[tokio::test]
async fn a_folder_beside_the_parts_is_passed_over() {
    on_each_backend(&small_world(), async |_, world| {
        world.put(&format!("{LINES}/_logs/a.jsonl"), "{}").await;
        world.put(&format!("{LINES}/below/a.jsonl"), "{}").await;
        world.put(&format!("{FLOWS}/old/part-0.parquet"), "x").await;
        assert_eq!(world.locate("lines").await.parts.len(), 2);
        assert_eq!(world.locate("flows").await.parts.len(), 3);
        let places = DataPlaces::of(&catalogue(), &tokens());
        places.refuse_folders(&world.store).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn more_parts_than_one_page_of_a_listing_are_all_found() {
    let objects: Objects = (0..1_100)
        .map(|n| object(format!("{LINES}/part-{n:05}.jsonl"), "{}\n"))
        .collect();
    on_each_backend(&objects, async |backend, world| {
        let lines = world.locate("lines").await;
        assert_eq!(lines.parts.len(), 1_100, "{backend}");
        assert_eq!(
            lines.parts[1_099].path(),
            format!("{LINES}/part-01099.jsonl")
        );
    })
    .await;
}

#[tokio::test]
async fn odd_keys_are_listed_and_read_letter_by_letter() {
    let odd = [
        "a b", "k=v", "100%", "%41", "é日本", "x#1", "a+b&c", "~[x]", "q?*",
    ];
    let objects: Objects = odd
        .iter()
        .map(|name| object(format!("d/{name}/{name}.bin"), name.as_bytes()))
        .collect();
    on_each_backend(&objects, async |backend, world| {
        let listed = world.store.list_under("d").await.unwrap();
        let mut expected: Vec<_> = objects.iter().map(|(key, _)| key.clone()).collect();
        expected.sort();
        let keys: Vec<_> = listed.iter().map(|entry| entry.path.clone()).collect();
        assert_eq!(keys, expected, "{backend}");
        for (key, bytes) in &objects {
            let object = world.store.get(key).await.unwrap();
            assert_eq!(&object.bytes[..], &bytes[..], "{backend}: {key}");
            let folder = key.rsplit_once('/').unwrap().0;
            assert_eq!(
                world.store.list_direct(folder).await.unwrap()[0].pin,
                object.pin
            );
        }
        let mut folders = odd.map(str::to_owned);
        folders.sort();
        assert_eq!(
            world.store.list_folders("d").await.unwrap(),
            folders,
            "{backend}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_key_that_leaves_the_root_is_refused_before_anything_is_opened() {
    on_each_backend(&small_world(), async |_, world| {
        for key in [
            "../run_receipt.json",
            "/etc/passwd",
            "data/../x",
            "a//b",
            "./a",
            "",
            "a\0b",
            "a/",
        ] {
            let error = world.store.get(key).await.unwrap_err();
            assert_eq!(error.code(), ReasonCode::ObjectPathRefused, "{key:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_symlink_that_leaves_the_root_is_refused_and_one_inside_is_followed() {
    let world = TestWorld::on_disk(&small_world()).await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("part-0.parquet"), "x").unwrap();
    let inside = |name: &str| world.folder().join(name);
    symlink(inside("run_receipt.json"), inside("again.json")).unwrap();
    symlink(outside.path().join("part-0.parquet"), inside("out.json")).unwrap();
    symlink(outside.path(), inside("out")).unwrap();

    assert!(
        world
            .store
            .get("again.json")
            .await
            .unwrap()
            .bytes
            .starts_with(b"{")
    );
    for key in ["out.json", "out/part-0.parquet"] {
        let error = world.store.get(key).await.unwrap_err();
        assert_eq!(error.code(), ReasonCode::ObjectPathRefused);
        assert!(
            error.to_string().contains(inside(key).to_str().unwrap()),
            "{error}"
        );
    }
    for folder in ["", "out"] {
        let error = world.store.list_under(folder).await.unwrap_err();
        assert_eq!(error.code(), ReasonCode::ObjectPathRefused, "{folder:?}");
    }
}

#[tokio::test]
async fn a_symlink_that_leads_in_a_circle_or_nowhere_is_refused() {
    for (target, name) in [("..", "data/loop"), ("nothing", "data/broken")] {
        let world = TestWorld::on_disk(&small_world()).await;
        symlink(target, world.folder().join(name)).unwrap();
        let error = world.store.list_under("data").await.unwrap_err();
        assert_eq!(error.code(), ReasonCode::ObjectPathRefused, "{name}");
    }
}

#[tokio::test]
async fn a_file_that_goes_while_its_folder_is_listed_is_not_in_it() {
    let world = TestWorld::on_disk(&small_world()).await;
    let settled = world.store.list_under("").await.unwrap();
    let passing = world.folder().join("passing");
    let is_over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&is_over);
    let passes = std::thread::spawn(move || {
        while !ended.load(Relaxed) {
            std::fs::write(&passing, "").unwrap();
            std::fs::remove_file(&passing).unwrap();
        }
    });
    let mut listed = Ok(Vec::new());
    for _ in 0..2_000 {
        listed = world.store.list_under("").await;
        let Ok(entries) = &mut listed else { break };
        entries.retain(|entry| entry.path != "passing");
    }
    is_over.store(true, Relaxed);
    passes.join().unwrap();
    assert_eq!(listed.unwrap(), settled);
}

#[tokio::test]
async fn a_pipe_is_refused_and_not_waited_for() {
    let world = TestWorld::on_disk(&small_world()).await;
    let pipe = world.folder().join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let error = world.store.get("pipe").await.unwrap_err();
    assert_eq!(error.code(), ReasonCode::OracleReadFailed);
}

#[test]
fn a_root_that_is_no_folder_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for root in [folder.path().join("gone"), file] {
        let root = root_at(root.to_str().unwrap());
        let error = WorldStore::open(root, &ObjectStoreConfig::default()).unwrap_err();
        assert_eq!(error.code(), ReasonCode::EngineRootMissing);
    }
}

#[tokio::test]
async fn a_missing_receipt_is_named_in_full() {
    on_each_backend(&[], async |_, world| {
        let error = RunReceipt::load(&world.store).await.unwrap_err();
        assert_eq!(error.code(), ReasonCode::RunReceiptUnreadable);
        assert!(
            error
                .to_string()
                .contains(&world.store.full_name("run_receipt.json"))
        );
    })
    .await;
}

#[tokio::test]
async fn a_wrong_bucket_and_refused_credentials_are_told_apart_at_once() {
    let server = S3Server::start();
    let open = |bucket: &str, secret: &str| {
        let root = root_at(&format!("s3://{bucket}/run"));
        let client = server.client(bucket, secret);
        WorldStore::with_object_store(root, std::sync::Arc::new(client), QUICK_RETRY)
    };
    let error = open("nowhere", "test-secret")
        .list_under("")
        .await
        .unwrap_err();
    assert_eq!(error.code(), ReasonCode::EngineRootMissing, "{error:?}");
    let error = open(BUCKET, "wrong")
        .get("run_receipt.json")
        .await
        .unwrap_err();
    assert_eq!(error.code(), ReasonCode::OracleReadFailed);
    assert!(!error.is_retryable());
    let listed = open(BUCKET, "wrong").list_under("").await.unwrap_err();
    assert!(
        listed.to_string().contains("refuses the credentials"),
        "{listed}"
    );
    let text = error.to_string();
    assert!(
        text.contains("refuses the credentials: s3://worlds/run/run_receipt.json"),
        "{text}"
    );
}

#[tokio::test]
async fn the_scenario_is_the_one_named_first_else_the_only_one_there_is() {
    on_each_backend(&small_world(), async |backend, world| {
        let catalogue = catalogue();
        let both: Vec<_> = ["flows", "lines"]
            .map(|id| catalogue.output(&OutputId::new(id)).unwrap())
            .into();
        let single = [catalogue.output(&OutputId::new("single")).unwrap()];
        let run = oracle_store::Tokens::of_run(&receipt());
        let resolve = async |named: &[Option<&str>], selected: &[_]| {
            resolve_scenario_id(&world.store, named, selected, &run).await
        };

        let named = resolve(&[None, Some("from profile")], &both).await.unwrap();
        assert_eq!(named.as_str(), "from profile");
        let named = resolve(&[Some("from flag"), Some("from profile")], &both)
            .await
            .unwrap();
        assert_eq!(named.as_str(), "from flag");
        let found = resolve(&[Some(""), None], &both).await.unwrap();
        assert_eq!(found.as_str(), SCENARIO, "{backend}");
        let missing = resolve(&[None], &single).await.unwrap_err();
        assert_eq!(missing.code(), ReasonCode::ScenarioIdMissing);

        let other = "data/layer3/6B/lines/scenario_id=other/a.jsonl";
        world.put(other, "{}").await;
        let ambiguous = resolve(&[], &both).await.unwrap_err();
        assert_eq!(ambiguous.code(), ReasonCode::ScenarioIdAmbiguous);
        assert!(
            ambiguous.to_string().contains("baseline v1, other"),
            "{ambiguous}"
        );
        let found = resolve(&[], &both[..1]).await.unwrap();
        assert_eq!(
            found.as_str(),
            SCENARIO,
            "only the selected outputs are asked"
        );
    })
    .await;
}
