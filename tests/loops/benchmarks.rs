//! The declared protocols of public benchmarks, each run on a small file of exactly its format, with smaller models.

use std::fmt::Write;
use std::path::Path;

use loopfm::pipeline::{Spec, Variant, run};

use super::log::{Folder, draw};

/// Runs what `models/benchmarks/<name>` declares with widths that suit a few hundred rows.
fn runs(name: &str, folder: &Folder, days: [i32; 2]) {
    let declared = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("models/benchmarks")
        .join(name);
    let read = |file: &str| std::fs::read_to_string(declared.join(file)).unwrap();
    let mut text = read("loop.toml");
    for (large, small) in [
        ("[1024, 512, 256]", "[8]"),
        ("[512, 256, 128]", "[8]"),
        ("[512, 256]", "[4]"),
        ("[256, 128]", "[4]"),
        ("[80, 40]", "[4]"),
    ] {
        text = text.replace(large, small);
    }
    for (large, small) in [
        ("width = 64", "width = 8"),
        ("width = 32", "width = 8"),
        ("embedding = 32", "embedding = 8"),
        ("layers = [128]", "layers = [8]"),
        ("prefixes = [8, 16]", "prefixes = [4]"),
    ] {
        text = text.replace(large, small);
    }
    folder.write("features.toml", &read("features.toml"));
    let path = folder.write("loop.toml", &text);
    let spec = Spec::read(&path).unwrap();
    let spec = Spec {
        seeds: vec![0],
        variants: vec![Variant::Loopfm, Variant::Kd, Variant::ItemOnly],
        ..spec
    };
    let finished = run(&spec, &folder.options(), &|_| {}).unwrap_or_else(|e| panic!("{name}: {e}"));
    let test = finished.stream.days(spec.split.test);
    assert_eq!(
        [finished.stream.day[test.start], finished.stream.day[0]],
        days,
        "{name}"
    );
    assert_eq!(finished.learnt.len(), 4);
    for learnt in finished.learnt.values() {
        assert_eq!(learnt[0].logits.len(), test.len());
    }
    // The declaration as it ships is sound as well.
    assert!(
        Spec::read(&declared.join("loop.toml")).unwrap().variants().len() > 8,
        "{name}"
    );
}

#[test]
fn taobao() {
    let folder = Folder::new(&[]);
    let mut rows = "user,time_stamp,adgroup_id,pid,nonclk,clk\n".to_owned();
    for n in 0..480 {
        let (user, ad, clk) = (draw(12, [n, 0, 3]), draw(9, [n, 1, 3]), draw(3, [n, 2, 3]) / 2);
        let time = 1_494_000_000 + i64::from(n) * 86_400 / 60;
        writeln!(rows, "{user},{time},{ad},430548_1007,{},{clk}", 1 - clk).unwrap();
    }
    folder.write("raw_sample.csv", &rows);
    let ads = (0..9).map(|ad| {
        format!(
            "{ad},{},83237,{},{},{}.0\n",
            ad % 3,
            ad % 2,
            if ad == 4 { "NULL".into() } else { ad.to_string() },
            10 * ad + 1
        )
    });
    folder.write(
        "ad_feature.csv",
        &("adgroup_id,cate_id,campaign_id,customer,brand,price\n".to_owned() + &ads.collect::<String>()),
    );
    let users = (0..11).map(|user| format!("{user},0,5,2,5,,3,0,{}\n", user % 3));
    let header = "userid,cms_segid,cms_group_id,final_gender_code,age_level,pvalue_level,shopping_level,occupation,new_user_class_level \n";
    folder.write("user_profile.csv", &(header.to_owned() + &users.collect::<String>()));
    runs("taobao", &folder, [20_170_513, 20_170_506]);
}

/// A list of items.
fn items(n: u32, at: u32) -> String {
    (0..n)
        .map(|i| draw(20, [i, at, 4]).to_string())
        .collect::<Vec<_>>()
        .join("^")
}

#[test]
fn kuaivideo() {
    let folder = Folder::new(&[]);
    let rows = |range: std::ops::Range<u32>| {
        let mut rows = "timestamp,user_id,item_id,is_click,is_like,is_follow,pos_items,neg_items\n".to_owned();
        for n in range {
            let (user, item, click) = (draw(10, [n, 0, 5]), draw(20, [n, 1, 5]), draw(2, [n, 2, 5]));
            let (pos, neg) = (items(n % 4, n), items(n % 7, n));
            writeln!(rows, "{},{user},{item},{click},0,0,{pos},{neg}", 1000 + 3 * n).unwrap();
        }
        rows
    };
    folder.write("train.csv", &rows(0..350));
    folder.write("test.csv", &rows(350..400));
    runs("kuaivideo-x1", &folder, [8, 1]);
}

#[test]
fn amazon() {
    let folder = Folder::new(&[]);
    let rows = |range: std::ops::Range<u32>| {
        let mut rows = "label,user_id,item_id,cate_id,item_history,cate_history\n".to_owned();
        for n in range {
            let (user, item, label) = (draw(10, [n, 0, 6]), draw(20, [n, 1, 6]), draw(2, [n, 2, 6]));
            let past = 1 + draw(12, [n, 3, 6]) as u32;
            writeln!(
                rows,
                "{label},{user},{item},{},{},{}",
                item % 4,
                items(past, n),
                items(past, n + 1000)
            )
            .unwrap();
        }
        rows
    };
    folder.write("train.csv", &rows(0..320));
    folder.write("test.csv", &rows(320..400));
    runs("amazon-x1", &folder, [8, 1]);
}
