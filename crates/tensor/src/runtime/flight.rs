//! Submits under way: sending them off, and taking in what they report.

use std::collections::VecDeque;

use gradus_graph::backend::{BackendError, ProgramId, Report, StepRow, Ticket};

use super::program::Program;
use crate::read::Wait;
use crate::{Commands, Device, Staging, Submission, TensorError};

/// Submits under way at once; a further one waits for the oldest.
pub(super) const IN_FLIGHT: usize = 3;

/// Submits under way and reports that came in, both oldest first.
#[derive(Debug, Default)]
pub(super) struct Flights {
    flights: VecDeque<Flight>,
    reports: VecDeque<(Ticket, Report)>,
}

#[derive(Debug)]
struct Flight {
    ticket: Ticket,
    program: ProgramId,
    steps: usize,
    staging: Staging,
    submission: Submission,
}

impl Flights {
    /// Sends off some steps: in one submit, or in several where one would take too long.
    pub(super) fn start(
        &mut self,
        device: &Device,
        programs: &mut [Program],
        (ticket, program): (Ticket, ProgramId),
        rows: &[StepRow],
        inputs: &[u32],
    ) -> Result<(), TensorError> {
        while self.flights.len() >= IN_FLIGHT {
            self.land(programs, Submission::wait_for_back_pressure)?;
        }
        let Some(running) = programs.get_mut(program.0) else {
            return Ok(());
        };
        let staging = match running.stagings.pop() {
            Some(staging) => staging,
            None => running.staging(device)?,
        };
        let (steps, name) = (rows.len(), &running.plan.name);
        running.upload(rows, inputs)?;
        let mut at = 0;
        let submission = loop {
            let part = running.part(at, steps);
            let mut commands = Commands::new(device, name)?;
            running.record(&mut commands.pass(name), part.clone(), steps);
            if part.end == running.launches(steps) {
                running.record_report(&mut commands, &staging, steps)?;
                break commands.submit()?;
            }
            commands.submit()?;
            at = part.end;
        };
        self.flights.push_back(Flight {
            ticket,
            program,
            steps,
            staging,
            submission,
        });
        Ok(())
    }

    /// Waits for a ticket and gives its report. Reports of earlier tickets are dropped.
    pub(super) fn finish(
        &mut self,
        programs: &mut [Program],
        ticket: Ticket,
    ) -> Result<Report, BackendError> {
        while self.flights.front().is_some_and(|f| f.ticket <= ticket) {
            // With no room for another submit this is the wait that the next one would do.
            let wait: Wait = match self.flights.len() {
                IN_FLIGHT => Submission::wait_for_back_pressure,
                _ => Submission::wait,
            };
            self.land(programs, wait)?;
        }
        while let Some((landed, report)) = self.reports.pop_front() {
            if landed == ticket {
                return Ok(report);
            }
        }
        let message = format!("ticket {} was waited for before, or never given", ticket.0);
        Err(BackendError::Access(message))
    }

    /// Waits for the oldest submit and keeps its report. After an error it is still under way, so
    /// that a time-out can be tried again.
    fn land(&mut self, programs: &mut [Program], wait: Wait) -> Result<(), TensorError> {
        let Some(flight) = self.flights.front_mut() else {
            return Ok(());
        };
        let Some(program) = programs.get_mut(flight.program.0) else {
            return Ok(());
        };
        let (bytes, after) = (program.report_bytes(flight.steps), &flight.submission);
        let report = flight.staging.read_when(after, bytes, wait)?;
        let report = program.report(&report, flight.steps);
        match self.reports.back_mut() {
            Some((ticket, earlier)) if *ticket == flight.ticket => merge(earlier, report),
            _ => self.reports.push_back((flight.ticket, report)),
        }
        if let Some(flight) = self.flights.pop_front() {
            program.stagings.push(flight.staging);
        }
        Ok(())
    }
}

/// Adds the report of later steps of one ticket.
fn merge(earlier: &mut Report, later: Report) {
    earlier.rows.extend(later.rows);
    for (bits, new) in earlier.errors.iter_mut().zip(later.errors) {
        *bits = new.max(*bits);
    }
}
