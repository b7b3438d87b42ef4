//! What happens to workers: they are killed, frozen and stopped until the faults are over. Then they drain everything.

use std::cell::RefCell;
use std::rc::Rc;

use super::kernel::Millis;
use super::network::World;
use super::worker::Worker;

/// How often the drain looks whether everything is drained.
const LOOK: Millis = 1_000;

/// How long the drain waits for notes that nobody may need any more.
const NOTES_WAIT: Millis = 15 * 60 * 1_000;

/// How long the drain may take.
const DRAIN_MAX: Millis = 2 * 60 * 60 * 1_000;

/// The process of each host; none while it is down.
pub(super) type Hosts = Rc<RefCell<Vec<Option<Rc<Worker>>>>>;

/// How a worker is disturbed.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Freeze,
    Stop,
}

/// Starts all workers and their faults.
pub(super) fn begin(world: &Rc<World>) -> Hosts {
    let start = |host| Some(Worker::start(world, host));
    let hosts: Hosts = Rc::new(RefCell::new((0..world.plan.workers).map(start).collect()));
    let plan = &world.plan;
    for (fault, every) in
        [(Fault::Kill, plan.kill_every), (Fault::Freeze, plan.freeze_every), (Fault::Stop, plan.stop_every)]
    {
        world.kernel.spawn(None, disturb(world.clone(), hosts.clone(), fault, every));
    }
    let ended = world.clone();
    world.kernel.at(plan.faults_until, None, move || {
        ended.tell(|| "the faults are over".to_owned());
        ended.services.borrow_mut().sqs.end_faults();
        (0..ended.plan.workers).for_each(|host| ended.kernel.freeze(host, 0));
    });
    hosts
}

async fn disturb(world: Rc<World>, hosts: Hosts, fault: Fault, every: Millis) {
    loop {
        let wait = world.rng.borrow_mut().u64(1..2 * every);
        world.kernel.sleep_until(None, world.now() + wait).await;
        if world.are_faults_over() {
            return;
        }
        let host = world.rng.borrow_mut().usize(..world.plan.workers);
        let Some(worker) = hosts.borrow()[host].clone() else { continue };
        if world.kernel.is_frozen(host) || worker.stop_by.get().is_some() {
            continue;
        }
        match fault {
            Fault::Kill => {
                world.tell(|| format!("worker {} is killed", worker.id));
                world.count(|counts| counts.kills += 1);
                end(&world, &hosts, host);
            }
            Fault::Freeze => {
                let pause = world.rng.borrow_mut().u64(..world.plan.visibility_timeout * 2);
                world.tell(|| format!("worker {} is frozen for {pause} ms", worker.id));
                world.count(|counts| counts.freezes += 1);
                world.kernel.freeze(host, (world.now() + pause).min(world.plan.faults_until));
            }
            Fault::Stop => {
                world.count(|counts| counts.stops += 1);
                let time = world.rng.borrow_mut().u64(..world.plan.visibility_timeout);
                let (world, hosts, process) = (world.clone(), hosts.clone(), worker.process);
                let stop = worker.spawn(|worker| worker.stop(time));
                world.kernel.clone().spawn(Some(process), async move {
                    stop.await;
                    let ended = world.clone();
                    world.kernel.at(world.now(), Some(process), move || end(&ended, &hosts, host));
                });
            }
        }
    }
}

/// Ends the process of a host, and starts another one some time later.
fn end(world: &Rc<World>, hosts: &Hosts, host: usize) {
    let ended = hosts.borrow_mut()[host].take();
    world.kernel.kill(host);
    drop(ended);
    let at = world.now() + world.rng.borrow_mut().u64(10..world.plan.visibility_timeout);
    let (again, hosts) = (world.clone(), hosts.clone());
    world.kernel.at(at, None, move || {
        let worker = Worker::start(&again, host);
        hosts.borrow_mut()[host] = Some(worker);
    });
}

/// Whether everything is drained, or the time for that is over.
pub(super) struct Drain {
    world: Rc<World>,
    hosts: Hosts,
    next_look: std::cell::Cell<Millis>,
}

impl Drain {
    pub(super) fn new(world: &Rc<World>, hosts: &Hosts) -> Self {
        let next_look = std::cell::Cell::new(world.plan.faults_until + LOOK);
        Self { world: world.clone(), hosts: hosts.clone(), next_look }
    }

    /// Whether the drain is over. It looks only once per interval.
    pub(super) fn is_over(&self) -> bool {
        let now = self.world.now();
        if now < self.next_look.get() {
            return false;
        }
        self.next_look.set(now + LOOK);
        let since = now - self.world.plan.faults_until;
        let services = self.world.services.borrow();
        let is_idle = |worker: &Option<Rc<Worker>>| worker.as_ref().is_some_and(|worker| worker.is_idle());
        let is_drained = services.sqs.left == 0 && self.hosts.borrow().iter().all(is_idle);
        is_drained && (services.store.notes.is_empty() || since > NOTES_WAIT) || since > DRAIN_MAX
    }
}
