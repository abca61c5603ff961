//! Measures how many thumbnails one thread makes in a second, for three sizes of pictures. Trust the ratios between two
//! versions, not the numbers: `cargo bench-thumbnails`.

use std::io::Cursor;
use std::time::{Duration, Instant};

use anyhow::Result;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use keepsake_cloud::pictures::thumbnail::Decoder;
use keepsake_protocol::capture::ContentType;
use keepsake_testkit::photos;

/// Pictures as cameras make them: width, height and bytes.
const SIZES: [(u32, u32, usize); 3] = [(640, 480, 23_500), (1280, 720, 150_000), (3280, 2464, 2_090_000)];
/// The time for each size.
const MEASURED_FOR: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<()> {
    let decoder = Decoder::new(1)?;
    for (width, height, bytes) in SIZES {
        let jpeg = photo(width, height, bytes)?;
        let (mut made, began) = (0_u32, Instant::now());
        while began.elapsed() < MEASURED_FOR {
            let decoded = decoder.decode(jpeg.clone(), ContentType::Jpeg).await;
            anyhow::ensure!(decoded.thumbnail.is_some(), "no thumbnail of {width} x {height}");
            made += 1;
        }
        let rate = f64::from(made) / began.elapsed().as_secs_f64();
        println!("{width} x {height}, {} bytes: {rate:.0} thumbnails/s", jpeg.len());
    }
    Ok(())
}

/// Returns a photograph of this size, at the highest quality that fits into these bytes.
fn photo(width: u32, height: u32, bytes: usize) -> Result<Vec<u8>> {
    let photo = image::load_from_memory(&photos::named("astronaut"))?;
    let photo = photo.resize_exact(width, height, FilterType::CatmullRom);
    let mut jpeg = Vec::new();
    for quality in (20..96).rev().step_by(3) {
        jpeg.clear();
        photo.write_with_encoder(JpegEncoder::new_with_quality(Cursor::new(&mut jpeg), quality))?;
        if jpeg.len() <= bytes {
            break;
        }
    }
    Ok(jpeg)
}
