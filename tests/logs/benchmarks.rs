//! The ready declarations of public benchmarks, each on a few rows of exactly its format.

use std::path::{Path, PathBuf};

use loopfm::data::{Features, LogFiles};

use super::{Folder, ints};

fn features(name: &str, folder: &Folder) -> Features {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/benchmarks/{name}/features.toml"));
    Features::read(&file).unwrap().in_folder(folder.path().to_path_buf())
}

/// Rows that stand often enough to be in vocabularies with a minimum count.
fn ten_times(row: &str) -> String {
    format!("{row}\n").repeat(10)
}

#[test]
fn taobao_raw() {
    let folder = Folder::new();
    let header = "user,time_stamp,adgroup_id,pid,nonclk,clk\n";
    // 00:55 and 08:55 of 6 May in China are two days in UTC; the last row is of 13 May, of a user without a profile.
    let rows = ten_times("581738,1494003310,1,430548_1007,1,0")
        + "581738,1494032110,2,430539_1007,0,1\n77,1494604800,3,430548_1007,1,0\n";
    let log = folder.write("raw_sample.csv", header.to_owned() + &rows);
    folder.write(
        "ad_feature.csv",
        "adgroup_id,cate_id,campaign_id,customer,brand,price\n1,6406,83237,1,95471,170.0\n2,6423,83237,1,NULL,99999999.0\n",
    );
    folder.write(
        "user_profile.csv",
        "userid,cms_segid,cms_group_id,final_gender_code,age_level,pvalue_level,shopping_level,occupation,new_user_class_level \n581738,0,5,2,5,,3,0,3\n234,5,2,2,2,1,3,1,\n",
    );
    let features = features("taobao", &folder);
    let log = LogFiles::open(&features, &[log]).unwrap();
    let encoder = features.fit(&log, Some("20170506".parse().unwrap())).unwrap();
    assert_eq!(encoder.fitted_rows(), 11);
    let all = encoder.encode_log(&log, None).unwrap();
    let row = |name: &str| [0, 10, 11].map(|r| ints(&all, name)[r]);
    assert_eq!(row("userid"), [1, 1, 0]);
    assert_eq!(row("adgroup_id"), [1, 0, 0]);
    assert_eq!(row("brand"), [1, 0, 0]);
    assert_eq!(row("pvalue_level"), [0, 0, 0]);
    assert_eq!(row("new_user_class_level"), [1, 1, 0]);
    assert_eq!(row("hour"), [1, 9, 1]);
    assert_eq!(row("pid"), [2, 1, 2]);
    let price = all.inputs["price"].as_f32().unwrap();
    assert!(price[0] < 0.0 && price[10] > 3.0 && price[11] == 0.0, "{price:?}");
    assert_eq!(all.day.unwrap()[11], 20_170_513);
    assert_eq!(all.label.unwrap()[10], 1.0);
}

#[test]
fn taobao_x1() {
    let folder = Folder::new();
    let header = "clk,btag_his,cate_his,brand_his,userid,cms_segid,cms_group_id,final_gender_code,age_level,pvalue_level,shopping_level,occupation,new_user_class_level,adgroup_id,cate_id,campaign_id,customer,brand,price,pid,btag\n";
    let long: Vec<String> = (0..60).map(|i| i.to_string()).collect();
    let row = format!(
        "0,{0},{1},{1},12,0,5,2,5,,3,0,,1,6406,83237,1,95471,170.0,430548_1007,1",
        vec!["1"; 60].join("^"),
        long.join("^")
    );
    let train = folder.write("train.csv", header.to_owned() + &ten_times(&row));
    let test = folder.write(
        "test.csv",
        header.to_owned() + "1,,,,13,0,5,2,5,,3,0,,1,6406,83237,1,95471,12.5,430548_1007,1\n",
    );
    let features = features("taobao-x1", &folder);
    let train = LogFiles::open(&features, &[train]).unwrap();
    let encoder = features.fit(&train, None).unwrap();
    let test = encoder
        .encode_log(&LogFiles::open(&features, &[test]).unwrap(), None)
        .unwrap();
    assert_eq!(
        (ints(&test, "userid"), ints(&test, "brand")),
        ([0].as_slice(), [61].as_slice())
    );
    assert!(ints(&test, "hist_brand").iter().all(|i| *i == 0));
    let train = encoder.encode_log(&train, None).unwrap();
    assert_eq!(train.inputs["hist_cate_id"].shape, [10, 50]);
    // The newest 50 of 60, numbered from 1.
    assert_eq!(
        (ints(&train, "hist_cate_id")[0], ints(&train, "hist_cate_id")[49]),
        (11, 60)
    );
    assert_eq!(ints(&train, "hist_btag")[0], ints(&train, "btag")[0]);
    assert_eq!(train.day, None);
}

#[test]
fn kuaivideo_x1() {
    let folder = Folder::new();
    let header = "timestamp,user_id,item_id,is_click,is_like,is_follow,pos_items,neg_items\n";
    let rows =
        ten_times("1.25,3,700,1,0,0,500^700,") + &ten_times("761105059450,3,500,0,0,0,500,700^9") + "2,4,9,0,0,0,,\n";
    let log = folder.write("train.csv", header.to_owned() + &rows);
    let features = features("kuaivideo-x1", &folder);
    let log = LogFiles::open(&features, &[log]).unwrap();
    let encoder = features.fit(&log, None).unwrap();
    // 9 stands 11 times, ten of them in a sequence.
    assert_eq!(
        (
            encoder.vocabulary_sizes()["item_id"],
            encoder.vocabulary_sizes()["user_id"]
        ),
        (4, 2)
    );
    let all = encoder.encode_log(&log, None).unwrap();
    assert_eq!(ints(&all, "pos_item_id")[..3], [2, 3, 0]);
    assert_eq!((all.time[0], all.time[20]), (1_250, 2_000));
    assert!(all.time[10] > all.time[0]);
    let why = features_with_outcome().unwrap_err().to_string();
    assert!(why.contains("`is_like` is an outcome"), "{why}");
}

fn features_with_outcome() -> Result<Features, loopfm::data::Error> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/benchmarks/kuaivideo-x1/features.toml");
    let text = std::fs::read_to_string(file).unwrap() + "\n[features.like]\nid = \"is_like\"\n";
    Features::parse(&text, "a test")
}

#[test]
fn amazon_x1() {
    let folder = Folder::new();
    let log: PathBuf = folder.write(
        "train.csv",
        "label,user_id,item_id,cate_id,item_history,cate_history\n1,0,30,9,10^20,7^8\n1,0,20,8,10,7\n0,0,40,7,10,7\n",
    );
    let features = features("amazon-x1", &folder);
    let log = LogFiles::open(&features, &[log]).unwrap();
    let encoder = features.fit(&log, None).unwrap();
    let all = encoder.encode_log(&log, None).unwrap();
    assert_eq!(all.time, [2, 1, 1]);
    assert_eq!(ints(&all, "item_id"), [3, 2, 4]);
    assert_eq!(ints(&all, "hist_item_id")[..3], [1, 2, 0]);
    assert_eq!(ints(&all, "hist_cate_id")[..3], [1, 2, 0]);
}
