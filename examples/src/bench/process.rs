//! What the kernel knows of processes. On systems without `/proc` nothing is known.

fn status(process: &str, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    kibibytes(&text, field)
}

fn kibibytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.split(':').next() == Some(field))?;
    let number: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(number * 1024)
}

/// The most memory that was ever resident (`VmHWM`).
pub(crate) fn peak_bytes() -> Option<u64> {
    status("self", "VmHWM")
}

/// Memory that is resident now (`VmRSS`).
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    status("self", "VmRSS")
}

/// Memory of another process that is resident now.
#[must_use]
pub fn resident_bytes_of(process: u32) -> Option<u64> {
    status(&process.to_string(), "VmRSS")
}

/// Minor page faults so far, of all threads.
pub(crate) fn minor_faults() -> Option<u64> {
    faults(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// Field 10 of `/proc/pid/stat` (proc(5)). The program's name, field 2, may hold spaces and
/// brackets, so fields are counted from the last closing one.
fn faults(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(7)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc() {
        let text = "VmPeak:\t  90 kB\nVmHWM:\t     123 kB\nVmRSS:\t 7 kB\n";
        assert_eq!(kibibytes(text, "VmHWM"), Some(123 * 1024));
        assert_eq!(kibibytes(text, "VmSwap"), None);
        let stat = "12 (a) b) R 1 2 3 4 5 6 789 0 11 0";
        assert_eq!(faults(stat), Some(789));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_is_touched_is_counted() {
        let before = minor_faults().unwrap();
        // Larger than any threshold under which the allocator might have it ready.
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        assert!(minor_faults().unwrap() > before);
        assert!(peak_bytes().unwrap() >= block.len() as u64);
        assert!(resident_bytes().unwrap() >= block.len() as u64);
    }
}
