//! `embed-outside WEIGHTS [PRESET]`: the embedding of one picture, by a ViT-L if not told otherwise.
use vit_models::candle_core::{Device, Tensor};
use vit_models::{Backbone, Context, Vit, VitConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let weights = std::env::args().nth(1).ok_or("usage: embed-outside WEIGHTS [PRESET]")?;
    let preset = std::env::args().nth(2).unwrap_or("vit_large".to_string());
    let config = VitConfig::by_name(&preset, 16, 224)?;
    let (model, _) = Vit::from_file(&config, weights.as_ref(), &Device::Cpu)?;
    let picture = Tensor::full(0.5f32, (1, 3, 224, 224), &Device::Cpu)?;
    let embedding = model.embed(&picture, &Context::eval())?;
    println!("{:?}", embedding.squeeze(0)?.to_vec1::<f32>()?);
    Ok(())
}
