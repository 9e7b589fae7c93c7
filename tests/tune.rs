//! The tuner on a real device, with variants planted: a wrong one, a slow one, one that does not compile.

use std::path::Path;
use std::time::Duration;

use loopfm::bundle::{Bundle, Precision, Rung, digest};
use loopfm::compile::{Options, compile};
use loopfm::fuse::Profile;
use loopfm::ir::parse;
use loopfm::run::{AdapterQuery, Error, VariantChoice};
use loopfm::session::{DeviceChoice, SessionError, SessionOptions};
use loopfm::tensor::{HostTensor, Sizes, Tensors};
use loopfm::tune::{self, Tuned, Tuning, Verdict};

use crate::support::gpu::gpu;
use crate::support::tiny::{self, batch, expected};

/// What becomes of a kernel's text.
type Change = fn(&str) -> String;

/// A bundle of one variant for each name; each text of `double` changed.
fn planted(variants: &[(&str, Change)]) -> Bundle {
    let mut bundle = tiny::bundle();
    let plain = bundle.manifest.variants.remove(0);
    for (name, change) in variants {
        let mut variant = plain.clone();
        variant.profile = (*name).to_owned();
        let kernel = &mut variant.kernels[1];
        let text = change(&bundle.wgsl[&kernel.wgsl]);
        kernel.wgsl = digest(&text);
        bundle.wgsl.insert(kernel.wgsl.clone(), text);
        bundle.manifest.variants.push(variant);
    }
    bundle
}

fn plain(text: &str) -> String {
    text.to_owned()
}

/// The same numbers, after long work that no compiler sees through.
fn slow(text: &str) -> String {
    let work = "var waste = bitcast<f32>(inputs[i]);
        for (var n = 0u; n < 300u + sizes.w / 4096u; n++) { waste = sin(waste); }
        values[i] = select(2.0, 3.0, waste > 2.0) * bitcast<f32>(inputs[i]);";
    let changed = text.replace("values[i] = 2.0 * bitcast<f32>(inputs[i]);", work);
    assert_ne!(changed, text);
    changed
}

/// Quick, as it does not do half of its work.
fn wrong(text: &str) -> String {
    let changed = text.replace("if r >= sizes.x {", "if r >= sizes.x / 2u {");
    assert_ne!(changed, text);
    changed
}

fn broken(_: &str) -> String {
    "no WGSL".into()
}

const SIZES: Sizes = Sizes {
    rows: 1024,
    requests: 1,
};

fn options_of_gpu() -> SessionOptions {
    SessionOptions {
        device: DeviceChoice::Gpu(AdapterQuery::Best),
        ..SessionOptions::default()
    }
}

fn tuned(bundle: &Bundle, folder: Option<&Path>) -> Tuned {
    let tuning = Tuning {
        folder: folder.map(Path::to_path_buf),
        most: Duration::ZERO,
        ..Tuning::new(SIZES)
    };
    let (session, tuned) = tune::open(bundle, &options_of_gpu(), &tuning).unwrap_or_else(|e| panic!("{e}"));
    let tuned = tuned.expect("a GPU was asked for");
    let report = session.runtime().expect("a GPU was asked for").report();
    assert_eq!(format!("{}/packed", report.profile), tuned.figures.chosen);
    let batch = batch(100, 1, |_| 0);
    assert_eq!(session.run(&batch).expect("what was chosen runs"), expected(&batch));
    tuned
}

#[test]
fn wrong_and_broken_variants_are_never_chosen() {
    if gpu().is_none() {
        return;
    }
    let all = tuned(
        &planted(&[("wrong", wrong), ("slow", slow), ("broken", broken), ("quick", plain)]),
        None,
    );
    let verdicts: Vec<&Verdict> = all.figures.candidates.iter().map(|c| &c.verdict).collect();
    let [
        Verdict::Wrong { why },
        Verdict::Default { .. },
        Verdict::Failed { .. },
        Verdict::Timed { ratio, spread, .. },
        Verdict::Untried { .. },
    ] = verdicts[..]
    else {
        panic!("{all}");
    };
    assert!(why.starts_with("output `y` has an error of "), "{why}");
    // Other tests of this process swing its processor time: what is faster wins only where it is clear of that.
    let clear = 1.0 - ratio > spread.max(0.02);
    let fastest = if clear { "quick/packed" } else { "slow/packed" };
    assert_eq!(all.figures.chosen, fastest, "{all}");
}

#[test]
fn the_table_stays_where_nothing_is_faster() {
    if gpu().is_none() {
        return;
    }
    let all = tuned(&planted(&[("first", plain), ("slow", slow)]), None);
    assert_eq!(all.figures.chosen, "first/packed", "{all}");
    let same = tuned(&planted(&[("first", plain), ("same", plain)]), None);
    if same.figures.chosen != "first/packed" {
        // Then it was faster by more than the first is than itself.
        assert!(
            matches!(same.figures.candidates[1].verdict,
            Verdict::Timed { ratio, spread, .. } if 1.0 - ratio > spread.max(0.02)),
            "{same}"
        );
    }
}

#[test]
fn where_all_are_wrong_nothing_runs() {
    if gpu().is_none() {
        return;
    }
    let error = tune::open(&planted(&[("wrong", wrong)]), &options_of_gpu(), &Tuning::new(SIZES)).err();
    let Some(SessionError::Run(Error::NoVariant { reasons, .. })) = &error else {
        panic!("{error:?}");
    };
    assert!(
        reasons[0].starts_with("wrong/packed: wrong, never chosen"),
        "{reasons:?}"
    );
}

#[test]
fn figures_are_measured_once() {
    if gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let bundle = planted(&[("slow", slow), ("quick", plain)]);
    let measured = tuned(&bundle, Some(folder.path()));
    assert!(!measured.from_file);
    let again = tuned(&bundle, Some(folder.path()));
    assert!(again.from_file && again.figures == measured.figures, "{again}");
    // Of another bundle under the same name they tell nothing: not of another one of its kernels,
    let other = tuned(&planted(&[("slow", plain), ("quick", slow)]), Some(folder.path()));
    assert!(
        !other.from_file && other.notes[0].ends_with("made with other kernels"),
        "{other}"
    );
    assert_eq!(other.figures.chosen, "slow/packed");
    // nor of what is there when some are not asked for.
    let mut few = options_of_gpu();
    few.load.variant = VariantChoice {
        profile: Some("quick".into()),
        rung: Some(Rung::Packed),
    };
    let tuning = Tuning {
        folder: Some(folder.path().to_path_buf()),
        ..Tuning::new(SIZES)
    };
    let (_, one) = tune::open(&bundle, &few, &tuning).expect("it opens");
    let one = one.expect("a GPU was asked for");
    assert!(!one.from_file && one.figures.candidates.len() == 2, "{one}");
}

#[test]
fn the_cpu_has_nothing_to_tune() {
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        ..SessionOptions::default()
    };
    let (session, tuned) = tune::open(&tiny::bundle(), &options, &Tuning::new(SIZES)).expect("it opens");
    assert!(session.runtime().is_none() && tuned.is_none());
}

/// A model of one input and one table or matrix, compiled, and what the tuner says of its kernels without checks.
fn unchecked(graph: &str, change: impl FnOnce(&mut Bundle)) -> (String, Verdict, serde_json::Value) {
    let graph = parse(graph).unwrap_or_else(|e| panic!("{e}"));
    let numbers = (0..4096).map(|i| (i % 7) as f32 / 64.0).collect();
    let weights = Tensors::from([("w".to_owned(), HostTensor::f32(&[64, 64], numbers))]);
    let options = Options {
        profiles: vec![&Profile::PORTABLE],
        rungs: vec![Rung::Packed],
        ..Options::new(Precision::F16)
    };
    let mut bundle = compile("small", &graph, &weights, &options).unwrap_or_else(|e| panic!("{e}"));
    change(&mut bundle);
    let tuning = Tuning {
        most: Duration::ZERO,
        ..Tuning::new(SIZES)
    };
    let (_, tuned) = tune::open(&bundle, &options_of_gpu(), &tuning).unwrap_or_else(|e| panic!("{e}"));
    let tuned = tuned.expect("a GPU was asked for");
    let last = tuned.figures.candidates.last().expect("one at least");
    assert_eq!(last.variant, "portable/packed, unchecked");
    let json = serde_json::to_value(&tuned).expect("figures are JSON");
    (
        tuned.to_string(),
        last.verdict.clone(),
        json["figures"]["candidates"][1].clone(),
    )
}

#[test]
fn the_table_says_why_nothing_runs_unchecked() {
    if gpu().is_none() {
        return;
    }
    let product = "loopfm 1
%0 = input \"x\" : f32[rows, 64]
%1 = param \"w\" : f32[64, 64]
%2 = matmul(%0, %1) : f32[rows, 64]
return \"y\" = %2
";
    let (text, timed, _) = unchecked(product, |_| {});
    assert!(matches!(timed, Verdict::Timed { .. }), "{text}");
    let lookup = "loopfm 1
%0 = input \"id\" : i32[rows]
%1 = param \"w\" : f32[64, 64]
%2 = gather(%1, %0) {axis=0} : f32[rows, 64]
return \"y\" = %2
";
    let (text, _, json) = unchecked(lookup, |_| {});
    let why = "in each of its 1 kernels an index or the end of a loop depends on what memory holds";
    assert!(
        text.contains(&format!("portable/packed, unchecked: not tried: {why}")),
        "{text}"
    );
    assert_eq!((&json["verdict"], &json["why"]), (&"untried".into(), &why.into()));
    let (text, _, _) = unchecked(product, |bundle| {
        bundle.manifest.variants[0].values_size.rows += 4;
    });
    assert!(
        text.contains("this build generates other kernels than the bundle has"),
        "{text}"
    );
}
