//! What `deploy/` holds, without a cluster: it renders, is valid, is hardened, and fits the program.
//! `scripts/ensure-deploy` installs what this needs; what is missing fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sandbox::{GateOptions, WorldOptions};
use serde_json::Value;
use system_tests::{Rig, run_in, signal, wsp_cli};

const OVERLAYS: [&str; 3] = ["base", "overlays/local", "overlays/shards"];

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[track_caller]
fn said(command: &mut Command) -> String {
    let program = format!("{command:?}");
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}: scripts/ensure-deploy has not run"));
    let told = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{program}: {told}");
    String::from_utf8(stdout).unwrap()
}

/// The text of an overlay as a cluster would get it, and its objects.
fn rendered(overlay: &str) -> (String, Vec<Value>) {
    let folder = file("deploy/kubernetes").join(overlay);
    let text = said(Command::new("kubectl").arg("kustomize").arg(folder));
    let objects = text
        .split("\n---\n")
        .map(|one| serde_yaml::from_str(one).unwrap())
        .collect();
    (text, objects)
}

fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let of_kind = |object: &&Value| {
        let is_named = |found: &str| found == name || found.starts_with(&format!("{name}-"));
        object["kind"] == kind && is_named(object["metadata"]["name"].as_str().unwrap())
    };
    objects.iter().find(of_kind).expect(name)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn job(objects: &[Value]) -> &Value {
    &object(objects, "Job", "wsp-stream")["spec"]
}

#[test]
fn every_overlay_renders_to_what_kubernetes_takes() {
    let validate = file("target/tools/kubernetes-validate/bin/kubernetes-validate");
    let folder = tempfile::tempdir().unwrap();
    for overlay in OVERLAYS {
        let (text, objects) = rendered(overlay);
        assert!(objects.len() >= 5, "{overlay}: {}", objects.len());
        let path = folder.path().join("all.yaml");
        fs::write(&path, &text).unwrap();
        let check = |path: &Path| {
            let mut command = Command::new(&validate);
            command.args(["--strict", "-k", "1.32"]).arg(path);
            command.output().expect("scripts/ensure-deploy has run")
        };
        let found = check(&path);
        let told = String::from_utf8_lossy(&found.stderr);
        assert!(found.status.success(), "{overlay}: {told}");
        // The validator does refuse.
        fs::write(
            &path,
            text.replace("restartPolicy: Never", "restartPolicies: Never"),
        )
        .unwrap();
        assert!(!check(&path).status.success(), "{overlay}");
    }
}

#[test]
fn every_container_keeps_to_the_restricted_standard_with_a_root_that_is_read_only() {
    for overlay in OVERLAYS {
        let (_, objects) = rendered(overlay);
        let mut containers = 0;
        for spec in objects
            .iter()
            .map(|object| &object["spec"]["template"]["spec"])
        {
            let all = list(&spec["initContainers"])
                .iter()
                .chain(list(&spec["containers"]));
            for container in all {
                containers += 1;
                let name = &container["name"];
                let pod = &spec["securityContext"];
                let own = &container["securityContext"];
                assert_eq!(pod["runAsNonRoot"], true, "{overlay}: {name}");
                assert_eq!(
                    pod["seccompProfile"]["type"], "RuntimeDefault",
                    "{overlay}: {name}"
                );
                assert_eq!(own["allowPrivilegeEscalation"], false, "{overlay}: {name}");
                assert_eq!(own["readOnlyRootFilesystem"], true, "{overlay}: {name}");
                assert_eq!(
                    list(&own["capabilities"]["drop"]),
                    ["ALL"],
                    "{overlay}: {name}"
                );
                assert!(
                    container["resources"]["limits"]["memory"].is_string(),
                    "{overlay}: {name}"
                );
                assert!(
                    container["command"].is_null(),
                    "{overlay}: {name}: no shell"
                );
                assert_eq!(
                    spec["automountServiceAccountToken"], false,
                    "{overlay}: {name}"
                );
            }
        }
        assert!(containers >= 2, "{overlay}");
    }
}

#[test]
fn no_overlay_holds_a_secret_and_the_network_is_open_to_what_a_stream_needs() {
    for overlay in OVERLAYS {
        let (text, objects) = rendered(overlay);
        for secret in [
            "AWS_SECRET_ACCESS_KEY: ",
            "WSP_CHECKPOINT_DSN: ",
            "IG_SERVICE_TOKEN: ",
        ] {
            assert!(!text.contains(secret), "{overlay}: {secret}");
        }
        for secret in objects.iter().filter(|object| object["kind"] == "Secret") {
            let holds = secret["data"]
                .as_object()
                .is_some_and(|data| !data.is_empty());
            assert!(!holds, "{overlay}");
        }
        let policy = &object(&objects, "NetworkPolicy", "wsp")["spec"];
        assert_eq!(list(&policy["policyTypes"]), ["Ingress", "Egress"]);
        let ports: Vec<u64> = list(&policy["egress"])
            .iter()
            .flat_map(|rule| list(&rule["ports"]))
            .map(|port| port["port"].as_u64().unwrap())
            .collect();
        assert_eq!(ports, [53, 53, 8081, 5432, 9000], "{overlay}");
    }
}

/// The settings of a profile that an overlay carries, by the program, with the overlay's variables.
fn settings(objects: &[Value]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let mounted = format!("{}/", folder.path().display());
    for (name, text) in object(objects, "ConfigMap", "wsp-profile")["data"]
        .as_object()
        .unwrap()
    {
        let text = text.as_str().unwrap().replace("/etc/wsp/", &mounted);
        fs::write(folder.path().join(name), text).unwrap();
    }
    let mut command = system_tests::command(
        folder.path(),
        &["profile", "explain", "--profile", "profile.yaml"],
    );
    for (name, value) in object(objects, "ConfigMap", "wsp-environment")["data"]
        .as_object()
        .unwrap()
    {
        command.env(name, value.as_str().unwrap());
    }
    // What the secret and Kubernetes itself set.
    command
        .env(
            "WSP_CHECKPOINT_DSN",
            "postgres://wsp:word@postgres:5432/wsp",
        )
        .env("IG_SERVICE_TOKEN", "token")
        .env("JOB_COMPLETION_INDEX", "7");
    let ran = system_tests::Ran::of(&mut command);
    ran.expect(0, "");
    assert_eq!(list(&ran.report["unset_variables"]), [] as [Value; 0]);
    assert_eq!(list(&ran.report["warnings"]), [] as [Value; 0]);
    list(&ran.report["settings"]).to_vec()
}

fn setting<'a>(settings: &'a [Value], key: &str) -> &'a str {
    let found = settings.iter().find(|setting| setting["key"] == key);
    found.expect(key)["value"].as_str().expect(key)
}

#[test]
fn every_profile_is_valid_and_a_pod_waits_for_a_stop_as_long_as_the_stream_may_take() {
    for overlay in OVERLAYS {
        let (_, objects) = rendered(overlay);
        let settings = settings(&objects);
        let seconds = |key| setting(&settings, key).parse::<u64>().unwrap();
        let stop = seconds("wiring.wsp_push.drain_timeout_s")
            + seconds("wiring.wsp_checkpoint.save_timeout_s");
        let grace = job(&objects)["template"]["spec"]["terminationGracePeriodSeconds"].as_u64();
        assert!(grace >= Some(stop + 10), "{overlay}: {grace:?}, {stop}");
    }
}

#[test]
fn there_are_as_many_pods_as_shards_and_all_have_one_schedule() {
    let (_, objects) = rendered("overlays/shards");
    let job = job(&objects);
    let settings = settings(&objects);
    assert_eq!(setting(&settings, "wiring.wsp_shard.index"), "7");
    let count = setting(&settings, "wiring.wsp_shard.count");
    assert_eq!(job["completionMode"], "Indexed");
    assert_eq!(
        (
            job["completions"].to_string(),
            job["parallelism"].to_string()
        ),
        (count.to_owned(), count.to_owned())
    );
    let args = list(&job["template"]["spec"]["containers"][0]["args"]);
    for flag in [
        "--start-at=$(WSP_START_AT)",
        "--time-origin=$(WSP_TIME_ORIGIN)",
    ] {
        assert!(args.contains(&flag.into()), "{args:?}");
    }
    assert_eq!(
        setting(&settings, "wiring.wsp_checkpoint.backend"),
        "postgres"
    );
}

/// What the Job does about a pod whose stream ended with this status.
fn action(job: &Value, status: i32) -> &str {
    let rules = list(&job["podFailurePolicy"]["rules"]);
    let fits = |rule: &&Value| {
        let codes = &rule["onExitCodes"];
        codes["operator"] == "In" && list(&codes["values"]).contains(&status.into())
    };
    let rule = rules.iter().find(fits).expect("a rule for this status");
    let name = &rule["onExitCodes"]["containerName"];
    assert_eq!(*name, job["template"]["spec"]["containers"][0]["name"]);
    rule["action"].as_str().unwrap()
}

#[test]
fn the_job_answers_each_real_exit_status_and_a_broken_threshold_becomes_green_by_no_retry() {
    let (_, objects) = rendered("base");
    let job = job(&objects);
    let rig = Rig::new(
        &WorldOptions::sample().with_shape(1, 400),
        GateOptions::default(),
        &[],
    );

    let unusable = run_in(rig.folder.path(), &["stream", "--profile", "absent.yaml"]);
    assert_eq!(
        action(job, unusable.status),
        "FailJob",
        "{}",
        unusable.stderr
    );

    let failed = rig.stream(&["--engine-run-root", "/absent"]);
    assert_eq!(action(job, failed.status), "Count", "{}", failed.stderr);

    let child = rig.start_stream(&["--rate", "500"]);
    rig.wait_for_unique(50);
    signal(&child, "TERM");
    let stopped = Rig::finish(child);
    assert_eq!(action(job, stopped.status), "Ignore", "{}", stopped.stderr);

    let broken = rig.stream(&["--fail-if", "acknowledged > 0"]);
    assert_eq!(action(job, broken.status), "FailIndex", "{}", broken.stderr);
    // What a retry would say.
    rig.stream(&["--fail-if", "acknowledged > 0"]).expect(0, "");
    let policy = &job["podFailurePolicy"]["rules"];
    assert!(policy.to_string().contains("DisruptionTarget"), "{policy}");
    assert!(job["backoffLimitPerIndex"].is_u64(), "FailIndex needs it");
}

#[test]
fn the_systemd_unit_is_valid_hardened_and_answers_exit_statuses_as_the_job_does() {
    let unit = fs::read_to_string(file("deploy/systemd/wsp-stream@.service")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wsp-stream@night.service");
    // The program is not where a package would put it.
    let here = unit.replace("/usr/bin/wsp-cli", wsp_cli().to_str().unwrap());
    assert_ne!(here, unit);
    fs::write(&path, here).unwrap();
    let mut verify = Command::new("systemd-analyze");
    said(verify.args(["verify", "--man=no"]).arg(&path));
    let mut security = Command::new("systemd-analyze");
    said(
        security
            .args(["security", "--offline=yes", "--threshold=20"])
            .arg(&path),
    );
    for line in [
        "SuccessExitStatus=3",
        "RestartPreventExitStatus=2 4",
        "Restart=on-failure",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
}

/// `make check-image` builds and starts it, with buildah.
#[test]
fn the_images_root_holds_all_that_the_program_needs() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    said(
        Command::new(file("deploy/image-root"))
            .arg(wsp_cli())
            .arg(&root),
    );
    // A shell, or anything else to run, is not there.
    let programs: Vec<_> = fs::read_dir(root.join("usr/bin")).unwrap().collect();
    assert_eq!(programs.len(), 1);
    assert!(root.join("etc/ssl/certs/ca-certificates.crt").is_file());
    // The loader finds every library in there.
    let libraries = said(
        Command::new(root.join("lib64/ld-linux-x86-64.so.2"))
            .args(["--inhibit-cache", "--library-path"])
            .arg(root.join("lib/x86_64-linux-gnu"))
            .arg("--list")
            .arg(root.join("usr/bin/wsp-cli")),
    );
    let found: Vec<&str> = libraries
        .lines()
        .filter_map(|line| line.split_once(" => ")?.1.split_whitespace().next())
        .collect();
    assert!(found.len() >= 3, "{libraries}");
    let root = root.to_str().unwrap();
    assert!(
        found.iter().all(|path| path.starts_with(root)),
        "{libraries}"
    );
}
