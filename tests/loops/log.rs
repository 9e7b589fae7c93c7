//! The log, its features and its declaration.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use loopfm::pipeline::{Finished, Options, Spec, run};
use loopfm::random::philox;

pub(crate) const DAYS: i64 = 8;
const USERS: u64 = 60;
const A_DAY: u64 = 300;
/// 1 June 2022.
const START: i64 = 1_654_041_600;

/// An impression.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) user: u64,
    pub(crate) item: u64,
    pub(crate) time: i64,
    pub(crate) label: bool,
}

/// A number of `0..n`.
pub(crate) fn draw(n: u64, at: [u32; 3]) -> u64 {
    let [a, b, ..] = philox([at[0], at[1], at[2], 7], [5, 0]);
    ((u64::from(a) << 32) | u64::from(b)) % n
}

/// Half of the users like all kinds of items but one, the others that one alone.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for day in 0..DAYS {
        for n in 0..A_DAY {
            let at = |what| [day as u32, n as u32, what];
            let (user, item) = (draw(USERS, at(0)), draw(40, at(1)));
            let likes = (user % 2 == 0) != (item % 4 == 0);
            let label = draw(10, at(2)) < if likes { 8 } else { 1 };
            rows.push(Row {
                user,
                item,
                time: START + 86_400 * day + 280 * n as i64,
                label,
            });
        }
    }
    rows
}

/// A folder with a log, its features, and its declaration.
pub(crate) struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    pub(crate) fn new(rows: &[Row]) -> Self {
        let folder = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let mut csv = "user,item,kind,t,long,seconds\n".to_owned();
        for r in rows {
            let (kind, long) = (r.item % 4, u8::from(r.label));
            writeln!(csv, "{},{},{kind},{},{long},{}", r.user, r.item, r.time, r.time % 7).unwrap();
        }
        folder.write("log.csv", &csv);
        folder.write("features.toml", FEATURES);
        folder.write("loop.toml", LOOP);
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn spec(&self) -> Spec {
        Spec::read(&self.path().join("loop.toml")).unwrap()
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            data: self.path().to_path_buf(),
            out: self.path().join("out"),
            threads: 2,
            log: false,
        }
    }

    pub(crate) fn run(&self, spec: &Spec) -> Finished {
        run(spec, &self.options(), &|_| {}).unwrap()
    }
}

const FEATURES: &str = r#"
[log]
key = "user"
time = { column = "t", unit = "s" }
label = "long"
outcomes = ["seconds"]
[features.user]
id = "user"
[features.item]
id = "item"
[features.kind]
id = "kind"
"#;

/// Learning rates are high: there is little to learn from.
pub(crate) const LOOP: &str = r#"
name = "made up"
seeds = [1]
[log]
features = "features.toml"
files = ["log.csv"]
[split]
fm = "20220601..20220605"
train = "20220602..20220605"
valid = "20220606"
test = "20220607..20220608"
[history]
length = 8
[fm]
mode = "prequential"
layers = ["embedding"]
items = ["item", "kind"]
[fm.train]
name = "fm"
data = { batch = 50, epochs = 2 }
schedule = { lr = 0.02 }
loss = { autoencoder = 1.0 }
optimiser = { groups = [{ params = ["*"], rule = "adam" }] }
[fm.train.model]
architecture = "din"
mlp = [16]
attention = { layers = [4] }
autoencoder = { of = ["hidden"], layers = [8], width = 4 }
fields = [{ name = "user", width = 4 }, { name = "item", width = 4 }, { name = "kind", width = 4 }]
[vm.train]
name = "vm"
data = { batch = 50, epochs = 4, order = "shuffled" }
schedule = { lr = 0.01 }
optimiser = { groups = [{ params = ["*"], rule = "adam" }] }
run = { patience = 2 }
[vm.train.model]
architecture = "din"
mlp = [16]
attention = { layers = [4] }
fields = [{ name = "item", width = 4 }, { name = "kind", width = 4 }]
[vm.with.kd]
model = { kd = { gradient_scale = 1.0 } }
loss = { distillation = { alpha = 1.0, weight = 1.0 } }
[vm.with.raw.model]
history = { length = 8, of = ["item", "kind"] }
[vm.with.raw-labels.model]
history = { length = 8, of = ["item", "kind"], side = [{ name = "label", vocabulary = 3, width = 2 }] }
[vm.with.loopfm.model.loopfm]
length = 8
width = 4
encoder = "din"
softmax = true
layers = [4]
target = ["item", "kind"]
[vm.with.loopfm-labels.model.loopfm]
length = 8
width = 4
encoder = "din"
layers = [4]
target = ["item", "kind"]
side = [{ name = "label", vocabulary = 3, width = 2 }]
"#;
