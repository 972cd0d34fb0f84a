use super::*;

fn node(port: u16) -> Node {
    Node::new("10.0.0.1", port)
}

const MASTER: u16 = 1;
const REPLICA: u16 = 2;

struct Scene {
    catch_up: CatchUp,
    node_reports: NodeReports,
    offsets: Offsets,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self {
            catch_up: CatchUp::default(),
            node_reports: [(node(MASTER), NodeReport::Master)].into(),
            offsets: Offsets::new(),
            now: Instant::now(),
        }
    }

    fn link(&mut self, state: Option<&str>) {
        let node_report = NodeReport::Replica {
            master: node(MASTER),
            link: state.map(str::to_owned),
            unclear: false,
        };
        self.node_reports.insert(node(REPLICA), node_report);
    }

    fn says(&mut self, port: u16, offset: u64) {
        self.offsets.insert(node(port), (offset, self.now));
    }

    fn passes(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    /// Whether the replica is read from, and who is to be asked.
    fn judge(&mut self) -> (bool, Vec<u16>) {
        let mut replicas = [Replica {
            node: node(REPLICA),
            excluded: None,
            since: 1,
            synced: true,
            orphaned: false,
            unlisted: None,
        }];
        let ask = self.catch_up.judge(
            &node(MASTER),
            &mut replicas,
            &self.node_reports,
            &self.offsets,
            self.now,
        );
        let ask = ask.iter().map(Node::port).collect();
        (replicas[0].is_readable(), ask)
    }
}

#[test]
fn a_replica_is_left_out_until_it_has_what_its_master_had_when_the_link_came_up() {
    let mut scene = Scene::new();
    scene.says(MASTER, 900);
    scene.passes(1000);
    scene.link(None);
    scene.says(REPLICA, 950);
    // What the master said a second ago is not what it has now.
    assert_eq!(scene.judge(), (false, vec![MASTER]));
    scene.says(MASTER, 1000);
    assert_eq!(scene.judge(), (false, vec![REPLICA]));
    scene.passes(1);
    scene.says(REPLICA, 999);
    assert_eq!(scene.judge(), (false, vec![REPLICA]));
    // What the master was given meanwhile does not move the mark.
    scene.says(MASTER, 5000);
    scene.says(REPLICA, 1000);
    assert_eq!(scene.judge(), (true, vec![]));
    scene.says(MASTER, 9000);
    assert_eq!(scene.judge(), (true, vec![]));
}

#[test]
fn a_link_that_comes_up_anew_begins_anew() {
    let mut scene = Scene::new();
    scene.link(None);
    scene.says(MASTER, 10);
    scene.says(REPLICA, 10);
    assert!(scene.judge().0);
    scene.link(Some("sync"));
    assert!(scene.judge().0, "others leave it out");
    scene.link(None);
    scene.says(MASTER, 500);
    assert_eq!(scene.judge(), (false, vec![REPLICA]));
}

#[test]
fn one_that_is_far_behind_is_not_asked_without_a_pause() {
    let mut scene = Scene::new();
    scene.link(None);
    scene.says(MASTER, 1_000_000);
    scene.says(REPLICA, 1);
    let answer = |scene: &mut Scene| {
        scene.passes(1);
        scene.says(REPLICA, 1);
        !scene.judge().1.is_empty()
    };
    let asked = (0..100).filter(|_| answer(&mut scene)).count();
    assert_eq!(asked, 5);
    scene.passes(50);
    assert_eq!(scene.judge(), (false, vec![REPLICA]));
}

#[test]
fn nobody_is_left_out_for_what_cannot_be_known() {
    let mut hidden = Scene::new();
    hidden.link(None);
    hidden.says(MASTER, 10);
    assert!(hidden.judge().0, "the replica does not tell");
    let mut dead = Scene::new();
    dead.link(None);
    dead.says(REPLICA, 10);
    dead.node_reports
        .insert(node(MASTER), NodeReport::Failed("refused".into()));
    assert!(dead.judge().0, "the master cannot be asked");
}

#[test]
fn a_replica_keeps_its_state_until_it_reports_again() {
    let mut scene = Scene::new();
    scene.link(None);
    scene.says(MASTER, 10);
    scene.says(REPLICA, 10);
    assert!(scene.judge().0);
    scene.node_reports.remove(&node(REPLICA));
    assert!(scene.judge().0);
    scene.link(None);
    scene.says(MASTER, 500);
    assert!(scene.judge().0);
}

#[test]
fn a_master_that_hides_its_offset_leaves_nobody_out() {
    let mut scene = Scene::new();
    scene.link(None);
    scene.says(REPLICA, 10);
    assert_eq!(scene.judge(), (true, vec![]));
}
