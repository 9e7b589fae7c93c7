//! A kernel in the languages of the drivers: what naga will make of it on each kind of machine.

use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::BoundsCheckPolicies;
use naga::valid::ModuleInfo;
use naga::{Module, ShaderStage};

/// The languages, by the ending of their files.
pub(super) const LANGUAGES: [(&str, Translate); 4] =
    [("spv", spirv), ("metal", metal), ("hlsl", direct3d), ("glsl", opengl)];

/// Bytes of a file, or why this language cannot say it.
type Translate = fn(&Module, &ModuleInfo) -> Result<Vec<u8>, String>;

fn spirv(module: &Module, info: &ModuleInfo) -> Result<Vec<u8>, String> {
    let options = spv::Options {
        lang_version: (1, 3),
        // Few drivers have it, and no kernel passes halves between stages.
        use_storage_input_output_16: false,
        ..spv::Options::default()
    };
    let words = spv::write_vec(module, info, &options, None).map_err(|e| e.to_string())?;
    Ok(words.into_iter().flat_map(u32::to_le_bytes).collect())
}

fn metal(module: &Module, info: &ModuleInfo) -> Result<Vec<u8>, String> {
    let options = msl::Options {
        lang_version: (2, 4),
        ..msl::Options::default()
    };
    let (text, _) =
        msl::write_string(module, info, &options, &msl::PipelineOptions::default()).map_err(|e| e.to_string())?;
    Ok(text.into_bytes())
}

fn direct3d(module: &Module, info: &ModuleInfo) -> Result<Vec<u8>, String> {
    let options = hlsl::Options {
        // The first with 16-bit types.
        shader_model: hlsl::ShaderModel::V6_2,
        ..hlsl::Options::default()
    };
    let pipeline = hlsl::PipelineOptions::default();
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &pipeline)
        .write(module, info, None)
        .map_err(|e| e.to_string())?;
    Ok(text.into_bytes())
}

fn opengl(module: &Module, info: &ModuleInfo) -> Result<Vec<u8>, String> {
    let options = glsl::Options {
        version: glsl::Version::new_gles(310),
        ..glsl::Options::default()
    };
    let entry_point = module.entry_points.first().map(|e| e.name.clone()).unwrap_or_default();
    let pipeline = glsl::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point,
        multiview: None,
    };
    let mut text = String::new();
    glsl::Writer::new(
        &mut text,
        module,
        info,
        &options,
        &pipeline,
        BoundsCheckPolicies::default(),
    )
    .and_then(|mut writer| writer.write())
    .map_err(|e| e.to_string())?;
    Ok(text.into_bytes())
}
