//! The same work again and again, by so many tasks at once.

use std::time::{Duration, Instant};

/// Runs `work` for `during` by `in_flight` tasks, each with numbers of its own, and gives how often it was done and in
/// how long.
pub(super) async fn repeat<F, Fut>(
    in_flight: u64,
    during: Duration,
    work: F,
) -> anyhow::Result<(usize, Duration)>
where
    F: Fn(u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send,
{
    let began = Instant::now();
    run(in_flight, move |_| began.elapsed() < during, work).await
}

/// Runs `work` once for each number below `count` by `in_flight` tasks, and gives how long that took.
pub(super) async fn once_each<F, Fut>(
    in_flight: u64,
    count: u64,
    work: F,
) -> anyhow::Result<(usize, Duration)>
where
    F: Fn(u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send,
{
    run(in_flight, move |number| number < count, work).await
}

async fn run<F, Fut>(
    in_flight: u64,
    goes_on: impl Fn(u64) -> bool + Clone + Send + 'static,
    work: F,
) -> anyhow::Result<(usize, Duration)>
where
    F: Fn(u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send,
{
    let began = Instant::now();
    let tasks: Vec<_> = (0..in_flight)
        .map(|task| {
            let (work, goes_on) = (work.clone(), goes_on.clone());
            tokio::spawn(async move {
                let (mut number, mut count) = (task, 0_usize);
                while goes_on(number) {
                    work(number).await?;
                    (number, count) = (number + in_flight, count + 1);
                }
                anyhow::Ok(count)
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await??;
    }
    Ok((count, began.elapsed()))
}
