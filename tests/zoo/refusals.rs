//! What a specification may not say, by name.

use loopfm::model::{Mode, Spec};

use super::spec;

#[test]
fn specifications_are_refused_by_name() {
    let cases = [
        (spec("fm", r#""mlp": [3],"#), "`mlp` means nothing to `fm`"),
        (spec("din", r#""cross": {"layers": 2},"#), "`cross` means nothing to `din`"),
        (
            spec("dmin", "").replace(r#""layers": [4]"#, r#""layers": [4], "softmax": true"#),
            "`attention.softmax` means nothing to `dmin`",
        ),
        (
            spec("dien", "").replace(r#""layers": [4]"#, r#""position": 4"#),
            "`attention.position` means nothing to `dien`",
        ),
        (
            spec("fm", "").replace(r#""vocabulary": 7, "width": 4}"#, r#""vocabulary": 7, "width": 5}"#),
            "fields of `fm` have one width: `user` has 4, `item` 5",
        ),
        (
            spec("fm", r#""history": {"length": 3, "of": ["item"], "side": [{"name": "liked", "vocabulary": 3, "width": 2}]},"#),
            "fields of `fm` have one width: `user` has 4, `liked` 2",
        ),
        (
            spec("din", r#""history": {"length": 3, "of": ["item"], "side": [{"name": "item", "vocabulary": 3, "width": 2}]},"#),
            "input `hist_item` is defined twice",
        ),
        (
            spec("din", r#""history": {"length": 3, "of": ["item"], "side": [{"name": "liked", "width": 2}]},"#),
            "missing field `vocabulary`",
        ),
        (spec("deepfm", r#""dropout": 1.0,"#), "dropout 1 is not within 0..1"),
        (spec("deepfm", r#""dropout": -0.1,"#), "dropout -0.1 is not within 0..1"),
        (spec("deepfm", r#""extract": ["mlp.7"],"#), "`extract` names `mlp.7`, hidden layers are `products`, `x0`, `mlp.0`"),
        (
            spec("fm", r#""autoencoder": {"width": 8},"#),
            "`autoencoder.of` names `mlp.0`, hidden layers are `products`, `hidden`",
        ),
        (
            spec("deepfm", r#""autoencoder": {"width": 8, "prefixes": [9]},"#),
            "a code of 8 has no prefix of 9",
        ),
        (
            spec("dmin", "").replace(r#""heads": 2"#, r#""heads": 3"#),
            "3 heads cannot share events 4 wide",
        ),
        (
            spec("deepfm", r#""loopfm": {"length": 4, "width": 8, "target": ["shop"]},"#),
            "`loopfm.target` names `shop`, which is neither a field nor dense",
        ),
        (
            spec("deepfm", r#""loopfm": {"length": 4, "width": 8, "encoder": "sum", "softmax": true},"#),
            "`loopfm.softmax` is an option of the encoder `din`",
        ),
        (
            spec("deepfm", r#""loopfm": {"length": 4, "width": 8},"#).replace(r#""history""#, r#""kd": {}, "x""#),
            "unknown field `x`",
        ),
        (
            r#"{"architecture": "dcnv2", "fields": [{"name": "a", "vocabulary": 2, "width": 2}], "loopfm": {"length": 2, "width": 4}}"#.to_owned(),
            "`loopfm.target` names no features, and there is no history to take them from",
        ),
        (
            r#"{"architecture": "dmr", "fields": [{"name": "a", "vocabulary": 2, "width": 2}]}"#.to_owned(),
            "`dmr` needs a `history`",
        ),
        (
            r#"{"architecture": "fmfm", "fields": [{"name": "a", "vocabulary": 2, "width": 2}]}"#.to_owned(),
            "`fmfm` needs two fields",
        ),
        (
            spec("dmr", "").replace(r#""position": 2"#, r#""position": 0"#),
            "`relevance.user_to_item` needs `attention.position`",
        ),
        (spec("fm", "").replace("price", "step.lr"), "cannot name an input"),
        (spec("fm", "").replace(r#""length": 3"#, r#""length": 0"#), "0 is not within 1..=65536"),
        (
            spec("fm", "").replace(r#""history": {"#, r#""history": [{"length": 2, "of": ["item"]}, {"#),
            "expected `,` or `]`",
        ),
    ];
    for (config, expected) in cases {
        let built = Spec::from_json(&config).and_then(|spec| spec.build(Mode::Eval));
        let e = built.expect_err(expected).to_string();
        assert!(e.contains(expected), "{e}\nwanted {expected}\n{config}");
    }
}

#[test]
fn histories_may_be_several() {
    let two = r#""history": [{"length": 3, "of": ["item"]}, {"name": "shown", "length": 2, "of": ["item", "user"], "pooling": "sum"}]"#;
    for architecture in super::ARCHITECTURES {
        let config = spec(architecture, "");
        let at = config.find(r#""history""#).unwrap();
        let config = format!("{}{two}}}", &config[..at]);
        let config = if architecture == "dmin" {
            config.replace(r#""heads": 2"#, r#""heads": 4"#)
        } else {
            config
        };
        let network = super::network(&config, Mode::Eval);
        let inputs: Vec<&str> = network.graph.inputs().map(|(_, name, _)| name).collect();
        for input in ["hist_item", "hist_mask", "shown_item", "shown_user", "shown_mask"] {
            assert!(inputs.contains(&input), "{architecture}: {inputs:?}");
        }
    }
    let clash = spec("fm", "").replace(r#"{"length": 3"#, r#"{"name": "hist", "length": 3"#);
    assert!(Spec::from_json(&clash).and_then(|spec| spec.build(Mode::Eval)).is_ok());
}

/// Specifications that the repository ships build in both modes.
#[cfg(feature = "train")]
#[test]
fn shipped_specifications_build() {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let mut seen = Vec::new();
    for folder in models.read_dir().unwrap() {
        let file = folder.unwrap().path().join("model.toml");
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        let spec = Spec::from_toml(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        for mode in [Mode::Eval, Mode::Train] {
            let network = spec.build(mode).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            let values: usize = network
                .parameters
                .values()
                .map(|p| p.shape.iter().product::<usize>())
                .sum();
            eprintln!(
                "{} {mode:?}: {values} parameters, {} nodes",
                spec.architecture(),
                network.graph.len()
            );
        }
        seen.push(spec.architecture().to_owned());
    }
    for architecture in super::ARCHITECTURES {
        assert!(
            seen.iter().any(|s| s == architecture),
            "no specification of `{architecture}`"
        );
    }
}
