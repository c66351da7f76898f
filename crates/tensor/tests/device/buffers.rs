//! Memory: round trips, ranges, limits, budgets, staging.

use anyhow::{Result, ensure};
use gradus_tensor::{Buffer, Commands, Device, TensorError};

use crate::error_of;
use crate::support::open;

pub(crate) fn round_trips(device: Device) -> Result<()> {
    for bytes in [0, 1, 2, 3, 4, 5, 15, 16, 17, 255, 257, 4_099, 1_000_003] {
        let data: Vec<u8> = (0..bytes).map(|i| (i * 7 + 1) as u8).collect();
        let buffer = Buffer::from_bytes(&device, "odd", &data)?;
        ensure!(buffer.read()? == data, "{bytes} bytes");
        ensure!(buffer.padded_bytes() % 16 == 0 && buffer.bytes() == bytes as u64);
    }
    Ok(())
}

pub(crate) fn ranges(device: Device) -> Result<()> {
    let data: Vec<u8> = (0..=255).collect();
    let buffer = Buffer::from_bytes(&device, "bytes", &data)?;
    for (offset, bytes) in [(0, 1), (1, 1), (3, 5), (5, 3), (255, 1), (256, 0), (7, 249)] {
        ensure!(buffer.read_range(offset, bytes)? == data[offset as usize..][..bytes as usize]);
    }
    for (offset, bytes) in [(0, 257), (256, 1), (u64::MAX, 1), (1, u64::MAX)] {
        let error = error_of(buffer.read_range(offset, bytes))?;
        ensure!(matches!(error, TensorError::OutOfRange { .. }), "{error}");
        ensure!(buffer.range(offset, bytes).is_err());
    }
    buffer.write(252, &[1, 2, 3, 4])?;
    ensure!(buffer.read_range(251, 5)? == [251, 1, 2, 3, 4]);
    ensure!(matches!(
        buffer.write(252, &[0; 8]),
        Err(TensorError::OutOfRange { .. })
    ));
    ensure!(matches!(
        buffer.write(2, &[0; 4]),
        Err(TensorError::Unaligned { .. })
    ));
    ensure!(matches!(
        buffer.write(0, &[0; 3]),
        Err(TensorError::Unaligned { .. })
    ));
    let mut commands = Commands::new(&device, "copy")?;
    let odd = commands.copy(&buffer.range(2, 4)?, &buffer, 0);
    ensure!(matches!(odd, Err(TensorError::Unaligned { .. })));
    let far = commands.copy(&buffer.whole(), &buffer, 4);
    ensure!(matches!(far, Err(TensorError::OutOfRange { .. })));
    Ok(())
}

pub(crate) fn zeroed(device: Device) -> Result<()> {
    let zeros = Buffer::zeroed(&device, "zeros", 1_025)?;
    ensure!(zeros.read()? == vec![0; 1_025]);
    let ones = Buffer::from_bytes(&device, "ones", &[1; 1_040])?;
    let mut commands = Commands::new(&device, "copy and clear")?;
    commands.copy(&ones.whole(), &zeros, 0)?;
    commands.clear(&ones);
    commands.submit()?;
    ensure!(zeros.read()? == vec![1; 1_025]);
    ensure!(ones.read()? == vec![0; 1_040]);
    Ok(())
}

pub(crate) fn too_large(device: Device) -> Result<()> {
    for bytes in [1 << 40, device.limits().max_buffer_size + 1, u64::MAX] {
        let error = error_of(Buffer::storage(&device, "huge", bytes))?;
        ensure!(
            matches!(error, TensorError::LimitExceeded { .. }),
            "{error}"
        );
        ensure!(error.to_string().contains("`huge`"), "{error}");
    }
    ensure!(
        Buffer::storage(&device, "small", 16).is_ok(),
        "the device must stay usable"
    );
    Ok(())
}

pub(crate) fn budget(_: Device) -> Result<()> {
    let device = open()?;
    device.set_memory_budget(Some(1 << 20));
    let first = Buffer::storage(&device, "first", 1 << 19)?;
    ensure!(device.allocated() == 1 << 19);
    let error = error_of(Buffer::storage(&device, "second", (1 << 19) + 1))?;
    let expected = TensorError::OutOfMemory {
        label: "second".into(),
        bytes: (1 << 19) + 16,
        allocated: 1 << 19,
        budget: Some(1 << 20),
    };
    ensure!(error == expected, "{error}");
    // A read needs staging of the same size, which gives way to the next buffer.
    first.read()?;
    ensure!(device.allocated() == 1 << 20);
    let second = Buffer::storage(&device, "second", 1 << 19)?;
    drop((first, second));
    ensure!(device.allocated() == 0);
    Ok(())
}

pub(crate) fn staging_is_reused(_: Device) -> Result<()> {
    let device = open()?;
    let buffer = Buffer::from_bytes(&device, "x", &[3; 5_000])?;
    buffer.read()?;
    let before = device.counters();
    for _ in 0..10 {
        buffer.read()?;
    }
    let spent = device.counters() - before;
    ensure!((spent.buffers, spent.waits) == (0, 10), "{spent:?}");
    Ok(())
}
