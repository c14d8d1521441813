//! Work for the multiprocessors while memory is held: kernels one after another, for a share of the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::driver::{Context, CudaError};

/// A round of work and rest. Short, so that others on the device wait little.
const ROUND: Duration = Duration::from_millis(20);

/// How long to wait for work to begin, at most. A device that is lost is noticed elsewhere.
const BEGINS_WITHIN: Duration = Duration::from_secs(10);

/// Work that goes on until this is dropped.
#[derive(Debug)]
pub struct Compute {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

impl Compute {
    /// Starts work on each device, for so many percent of the time.
    pub fn start(contexts: Vec<Arc<Context>>, percent: u32) -> Compute {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, begun) = channel();
        let workers = contexts
            .into_iter()
            .map(|context| {
                let (stop, sender) = (Arc::clone(&stop), sender.clone());
                std::thread::spawn(move || {
                    // The filler notices by itself when its device can not be used any more, and says so.
                    if let Err(error) = work(&context, percent, &stop, &sender) {
                        eprintln!("computing on device {} ended: {error}", context.device.index);
                    }
                })
            })
            .collect::<Vec<_>>();
        // What it needs of the device it has before all the memory is taken.
        drop(sender);
        for _ in &workers {
            let _ = begun.recv_timeout(BEGINS_WITHIN);
        }
        Compute { stop, workers }
    }
}

fn work(context: &Context, percent: u32, stop: &AtomicBool, begun: &Sender<()>) -> Result<(), CudaError> {
    let stream = context.stream()?;
    let share = ROUND * percent.min(100) / 100;
    context.busy(&stream, Duration::ZERO)?;
    // Nobody waits for it any more if it took that long.
    let _ = begun.send(());
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        context.busy(&stream, share)?;
        stream.synchronize()?;
        std::thread::sleep(ROUND.saturating_sub(began.elapsed().max(share)));
    }
    Ok(())
}

impl Drop for Compute {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}
