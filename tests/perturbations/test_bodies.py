"""Changed bodies are what they say they are: the same in EnvPool, in Gymnasium, and by a change in mid-episode."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import envpool
import gymnasium
import mujoco
import numpy as np
import pytest

from nchl import tasks
from nchl.errors import InvalidArgument, TaskError, UnknownName
from nchl.perturbations import assets, bodies, live, parse
from nchl.rules.kernels import cache


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("NCHL_CACHE", str(tmp_path / "cache"))
    cache._folder.cache_clear()
    assets._copy.cache_clear()
    yield
    cache._folder.cache_clear()
    assets._copy.cache_clear()


def own_file(task: str) -> Path:
    config = envpool.make_spec(task).config
    return assets.body_of(config.base_path, config.xml_file)


def changes(*texts: str) -> list[Any]:
    return [(each, each.number.low) for each in map(parse, texts)]


def stored(task: str, *texts: str) -> tuple[str, str]:
    return assets.store(envpool.make_spec(task).config.base_path, bodies.changed(own_file(task), changes(*texts)))


def model(task: str, *texts: str) -> Any:
    base, file = stored(task, *texts)
    return mujoco.MjModel.from_xml_path(str(Path(base) / "mujoco" / "assets_gym" / file))


@pytest.mark.parametrize(
    ("task", "texts", "near"),
    [
        ("Ant-v5", ["limb:ankle_4=x0.25"], 1e-5),
        ("HalfCheetah-v5", ["friction=x0.25", "mass:torso=x2"], 1e-9),
        ("HalfCheetah-v5", ["gravity=x1.5", "limb:bshin=x0.5"], 1e-9),
        ("Hopper-v5", ["slope=5deg"], 1e-9),
        ("Walker2d-v5", ["limb:leg_left=x0.5"], 1e-9),
    ],
)
def test_envpool_and_gymnasium_play_the_same_changed_body(task: str, texts: list[str], near: float) -> None:
    base, file = stored(task, *texts)
    pool = envpool.make(task, env_type="gymnasium", num_envs=1, seed=[7], base_path=base, xml_file=file, reset_noise_scale=0.0)
    plain = gymnasium.make(task, reset_noise_scale=0.0)
    written = gymnasium.make(task, xml_file=str(Path(base) / "mujoco" / "assets_gym" / file), reset_noise_scale=0.0)
    changing = live.wrap(gymnasium.make(task, reset_noise_scale=0.0), [" & ".join(texts)])
    pool.reset()
    for each in (plain, written, changing):
        each.reset(seed=1)
    random = np.random.default_rng(0)
    for _ in range(3):
        action = random.uniform(-0.4, 0.4, plain.action_space.shape).astype(np.float32)
        seen = pool.step(action.astype(np.float64)[None])[0][0]
        own, other, before = (each.step(action)[0] for each in (written, changing, plain))
        np.testing.assert_allclose(seen, own, atol=near)
        np.testing.assert_allclose(other, own, atol=1e-4)
    assert np.abs(seen - before).max() > 1e-3, "the change is one"
    np.testing.assert_allclose(changing.unwrapped.model.body_mass, written.unwrapped.model.body_mass, rtol=1e-5)


def test_a_shorter_limb_is_lighter_and_nothing_else_changes() -> None:
    before, after = model("HalfCheetah-v5"), model("HalfCheetah-v5", "limb:bshin=x0.5")
    assert before.body_mass.sum() == pytest.approx(14, abs=1e-3), "the total that the XML fixes"
    shin = int(mujoco.mj_name2id(after, mujoco.mjtObj.mjOBJ_BODY, "bshin"))
    others = np.arange(after.nbody) != shin
    np.testing.assert_allclose(after.body_mass[others], before.body_mass[others], rtol=1e-4)
    # A capsule: a cylinder of half-length h and two half balls of radius r.
    r, h = before.geom("bshin").size[:2]
    volume = [math.pi * r * r * 2 * length + 4 / 3 * math.pi * r**3 for length in (h, h / 2)]
    assert after.body_mass[shin] / before.body_mass[shin] == pytest.approx(volume[1] / volume[0], rel=1e-4)
    np.testing.assert_allclose(after.body("bfoot").pos, before.body("bfoot").pos / 2, rtol=1e-4)


def hinges(model: Any, body: int) -> list[int]:
    kinds = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_BALL))
    return [k for k in range(model.njnt) if model.jnt_bodyid[k] == body and model.jnt_type[k] in kinds]


def joined(model: Any, body: int) -> tuple[np.ndarray, np.ndarray]:
    """Where a body hangs (its first hinge, or else its origin), and where its shapes end and its children hang, at rest."""
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)

    def hangs(body: int) -> np.ndarray:
        some = hinges(model, body)
        return np.array(data.xanchor[some[0]] if some else data.xpos[body])

    places = [hangs(child) for child in range(model.nbody) if model.body_parentid[child] == body]
    for geom in np.flatnonzero(model.geom_bodyid == body):
        centre, axis = data.geom_xpos[geom], data.geom_xmat[geom].reshape(3, 3)[:, 2]
        half = model.geom_size[geom, 1] if model.geom_type[geom] == int(mujoco.mjtGeom.mjGEOM_CAPSULE) else 0.0
        places += [centre + half * axis, centre - half * axis]
    return hangs(body), np.array(places)


@pytest.mark.parametrize("task", ["Hopper-v5", "Walker2d-v5", "Humanoid-v5", "Ant-v5"])
@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_joints_meet_again_when_a_limb_has_another_length(task: str, factor: float) -> None:
    path = own_file(task)
    before = mujoco.MjModel.from_xml_path(str(path))
    limbs = [k for k in range(1, before.nbody) if hinges(before, k)]
    assert len(limbs) >= 4
    for body in limbs:
        joint = before.joint(hinges(before, body)[0]).name
        after = mujoco.MjModel.from_xml_string(bodies.changed(path, changes(f"limb:{joint}=x{factor}")))
        (place, ends), (new_place, new_ends) = joined(before, body), joined(after, body)
        np.testing.assert_allclose(new_place, place, atol=1e-5, err_msg=f"{joint}: the limb hangs where it did")
        np.testing.assert_allclose(new_ends - new_place, factor * (ends - place), atol=1e-5, err_msg=joint)
        for other in set(range(1, before.nbody)) - {body}:
            (own, ends), (moved, new_ends) = joined(before, other), joined(after, other)
            np.testing.assert_allclose(new_ends - moved, ends - own, atol=1e-5, err_msg=f"{joint}: {other} keeps its shape")


@pytest.mark.parametrize("task", ["Ant-v5", "HalfCheetah-v5", "Swimmer-v5"])
def test_a_limb_that_hangs_at_its_origin_is_scaled_about_it_to_the_bit(task: str) -> None:
    path = own_file(task)
    for name in [joint.name for joint in bodies.spec_of(path).joints]:
        spec = bodies.spec_of(path)
        body = spec.joint(name).parent
        for geom in body.geoms:
            geom.fromto = np.array(geom.fromto) * 0.3
            geom.pos = np.array(geom.pos) * 0.3
            if not np.isfinite(geom.fromto[0]) and geom.type == mujoco.mjtGeom.mjGEOM_CAPSULE:
                geom.size[1] *= 0.3
        for fixed in (*body.bodies, *body.sites, *body.cameras, *body.lights, *body.joints):
            fixed.pos = np.array(fixed.pos) * 0.3
        spec.compile()
        assert bodies.changed(path, changes(f"limb:{name}=x0.3")) == spec.to_xml()


FRAMED = """<mujoco><worldbody><body name="root" pos="0 0 2">
  <joint/> <geom size="0.1"/>
  <body name="arm" pos="0 0 -1" euler="30 0 0">
    <frame pos="0.1 0 0.2" euler="0 40 0">
      <frame pos="0 0.1 0" axisangle="1 1 0 20">
        <joint name="shoulder" pos="0 0 0.3"/><geom type="capsule" fromto="0 0 0 0.1 0.2 -0.4" size="0.02"/>
      </frame>
      <body name="hand" pos="0.2 0 -0.5" euler="10 20 30"><joint name="wrist" pos="0.05 0 0.1"/><geom size="0.03"/></body>
    </frame>
    <body name="finger" pos="0.1 0.1 -0.4" xyaxes="0 1 0 -1 0 0"><joint name="knuckle" pos="0 0.04 0.01"/><geom size="0.03"/></body>
  </body>
</body></worldbody></mujoco>"""


def test_joints_meet_again_in_turned_bodies_and_frames(tmp_path: Path) -> None:
    path = tmp_path / "framed.xml"
    path.write_text(FRAMED)
    before = mujoco.MjModel.from_xml_path(str(path))
    after = mujoco.MjModel.from_xml_string(bodies.changed(path, changes("limb:arm=x0.5")))
    (place, ends), (new_place, new_ends) = joined(before, before.body("arm").id), joined(after, after.body("arm").id)
    np.testing.assert_allclose(new_place, place, atol=1e-5)
    np.testing.assert_allclose(new_ends - new_place, 0.5 * (ends - place), atol=1e-5)


@pytest.mark.parametrize("task", ["Ant-v5", "HalfCheetah-v5"])
def test_what_is_not_named_differs_by_the_digits_of_a_file_alone(task: str) -> None:
    path = own_file(task)
    own, written = mujoco.MjModel.from_xml_path(str(path)), model(task, "friction=x0.25")
    for name in ("body_mass", "body_inertia", "geom_size", "body_pos", "dof_damping", "actuator_gear", "jnt_range"):
        np.testing.assert_allclose(getattr(written, name), getattr(own, name), rtol=1e-5, atol=1e-12, err_msg=name)
    assert set(bodies.differences(path, [(parse("friction=x0.25"), 0.25)])) <= {"geom_friction", "pair_friction"}


def test_a_joint_names_the_body_that_it_moves() -> None:
    before, after = model("Ant-v5"), model("Ant-v5", "limb:ankle_4=x0.25")
    body = int(before.joint("ankle_4").bodyid[0])
    assert before.body(body).name == ""
    assert after.geom("fourth_ankle_geom").size[1] == pytest.approx(before.geom("fourth_ankle_geom").size[1] / 4, rel=1e-4)
    assert after.body_mass[body] < before.body_mass[body]


def test_mass_friction_gravity_and_slope() -> None:
    before = model("HalfCheetah-v5")
    heavy = model("HalfCheetah-v5", "mass:torso=x2")
    np.testing.assert_allclose(heavy.body("torso").mass, 2 * before.body("torso").mass, rtol=1e-5)
    np.testing.assert_allclose(heavy.body("torso").inertia, 2 * before.body("torso").inertia, rtol=1e-5)
    np.testing.assert_allclose(heavy.body_mass[2:], before.body_mass[2:], rtol=1e-5)
    np.testing.assert_allclose(model("HalfCheetah-v5", "friction=x0.25").geom_friction, before.geom_friction / 4, rtol=1e-5)
    np.testing.assert_allclose(model("HalfCheetah-v5", "gravity=x1.5").opt.gravity, [0, 0, -14.715], rtol=1e-5)
    tilted = model("HalfCheetah-v5", "slope=30deg").opt.gravity
    np.testing.assert_allclose(tilted, [-9.81 / 2, 0, -9.81 * math.cos(math.pi / 6)], rtol=1e-5)


def test_what_is_not_there_is_refused_with_what_is() -> None:
    path = own_file("Ant-v5")
    with pytest.raises(InvalidArgument, match=r"did you mean 'ankle_4'\? there are torso.*ankle_1"):
        bodies.check(path, [parse("limb:ankel_4=x0.5")])
    with pytest.raises(InvalidArgument, match="torso"):
        live.wrap(gymnasium.make("Ant-v5"), ["push:torsoo=30N@5+2"])


def of_its_own(folder: Path, *replaced: tuple[str, str]) -> Path:
    """A Hopper in a file of the user's, with a mesh on its torso that lies in a folder."""
    xml = own_file("Hopper-v5").read_text()
    (folder / "meshes").mkdir()
    (folder / "meshes" / "hat.obj").write_text("v 0 0 0\nv .1 0 0\nv 0 .1 0\nv 0 0 .1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n")
    for old, new in [
        ("<compiler ", '<compiler meshdir="meshes" '),
        ("<asset>", '<asset><mesh name="hat" file="hat.obj"/>'),
        ('<geom friction="0.9" name="torso_geom"', '<geom type="mesh" mesh="hat" pos="0 0 0.3"/><geom friction="0.9" name="torso_geom"'),
        *replaced,
    ]:
        assert xml.count(old) == 1, old
        xml = xml.replace(old, new)
    path = folder / "hopper.xml"
    path.write_text(xml)
    return path


def test_a_body_with_meshes_in_a_folder_changes_in_mid_episode(tmp_path: Path) -> None:
    changing = live.wrap(gymnasium.make("Hopper-v5", xml_file=str(of_its_own(tmp_path))), ["mass:torso=x2@1"])
    changing.reset(seed=0)
    own = float(changing.unwrapped.model.body("torso").mass[0])
    for _ in range(2):
        changing.step(np.zeros(3, np.float32))
    assert float(changing.unwrapped.model.body("torso").mass[0]) == pytest.approx(2 * own, rel=1e-12)


def test_a_change_in_mid_episode_has_all_digits() -> None:
    model = gymnasium.make("HalfCheetah-v5").unwrapped.model
    where, new = bodies.differences(own_file("HalfCheetah-v5"), changes("mass:torso=x3", "mass:bshin=x1.1"))["body_mass"]
    assert [model.body(k).name for k in np.flatnonzero(where)] == ["torso", "bshin"]
    np.testing.assert_allclose(new[where] / model.body_mass[where], [3, 1.1], rtol=1e-13)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mass:leg=x1e-30@5", "mass:leg=x1e-30@5: .*mass and inertia"),
        ("mass:leg=x1e-30..1@5", r"mass:leg=x1e-30\.\.1@5: .*mass and inertia"),
        ("limb:torso=x0.5@5", "limb:torso=x0.5@5'.*cannot be made shorter"),
        ("limb:thigh=x0.5@5", "limb:thigh=x0.5@5'.*follows from no shape"),
    ],
)
def test_a_change_that_a_body_cannot_have_is_refused_at_once(tmp_path: Path, text: str, message: str) -> None:
    thigh = '<joint axis="0 -1 0" name="thigh_joint"'
    path = of_its_own(tmp_path, (thigh, f'<inertial pos="0 0 -0.2" mass="4" diaginertia="0.1 0.1 0.1"/>{thigh}'))
    with pytest.raises(TaskError, match=message):
        live.wrap(gymnasium.make("Hopper-v5", xml_file=str(path)), ["none", text])


def test_a_file_that_was_written_anew_is_checked_anew(tmp_path: Path) -> None:
    path = of_its_own(tmp_path)
    live.wrap(gymnasium.make("Hopper-v5", xml_file=str(path)), ["limb:leg=x0.5@5"])
    path.write_text(path.read_text().replace('name="leg"', 'name="shin"'))
    with pytest.raises(InvalidArgument, match="no body or joint 'leg'"):
        live.wrap(gymnasium.make("Hopper-v5", xml_file=str(path)), ["limb:leg=x0.5@5"])


def test_the_friction_of_pairs_changes_with_all_other(tmp_path: Path) -> None:
    pair = '<contact><pair geom1="floor" geom2="foot_geom" friction="1.5 1.2 0.01 0.001 0.002"/></contact>'
    path = of_its_own(tmp_path, ("<actuator>", f"{pair}<actuator>"))
    where, new = bodies.differences(path, changes("friction=x0.5"))["pair_friction"]
    assert where.all()
    np.testing.assert_allclose(new, [[0.75, 0.6, 0.005, 0.0005, 0.001]])


TWICE = "mass:leg=x2 & mass:leg_joint=x3"


def test_what_is_changed_twice_under_two_names_is_refused() -> None:
    for task, texts in [
        ("CartPole-v1", "gravity=x2 & attribute:gravity=3"),
        ("CartPole-v1", "attribute:gravity=x2@9 & gravity=x2@3..5"),
        ("Hopper-v5", TWICE.replace("=x3", "=x3@7")),
    ]:
        with pytest.raises(InvalidArgument, match="change the same; give one of the two"):
            live.wrap(gymnasium.make(task), ["none", texts])
    with pytest.raises(InvalidArgument, match="'mass:leg=x2' and 'mass:leg_joint=x3' change the same"):
        tasks.make("Hopper-v5", "envpool", perturb=TWICE.split(" & "))
    live.wrap(gymnasium.make("Hopper-v5"), TWICE.split(" & ")).reset(seed=0)  # in two episodes
    live.wrap(gymnasium.make("Hopper-v5"), ["mass:leg=x2 & limb:leg_joint=x0.5"]).reset(seed=0)


def test_a_robot_whose_body_envpool_takes_from_elsewhere_is_no_broken_installation() -> None:
    with pytest.raises(TaskError, match=r"FetchReach-v4 has no bodies that can change.*takes no other body.*Gymnasium does not have it"):
        tasks.make("FetchReach-v4", perturb=["gravity=x0.5"])


def test_changes_come_in_mid_episode_and_go_with_the_reset() -> None:
    changing = live.wrap(gymnasium.make("HalfCheetah-v5"), ["gravity=x2@3 & friction=x0.5@5 & push:torso=100N@2+2"])
    core = changing.unwrapped
    for _ in range(2):
        changing.reset(seed=4)
        own = core.model.geom_friction.copy()
        for step in range(7):
            changing.step(np.zeros(6, np.float32))
            assert core.model.opt.gravity[2] == pytest.approx(-19.62 if step >= 3 else -9.81)
            np.testing.assert_allclose(core.model.geom_friction, own / 2 if step >= 5 else own)
            assert core.data.xfrc_applied[1, 0] == (100.0 if step in (2, 3) else 0.0)
        changing.reset(seed=5)
        np.testing.assert_array_equal(core.model.geom_friction, own)
        assert core.model.opt.gravity[2] == pytest.approx(-9.81)
        assert not core.data.xfrc_applied.any()


def test_two_pushes_of_one_body_add_up() -> None:
    changing = live.wrap(gymnasium.make("HalfCheetah-v5"), ["push:torso=100N@1+3 & push:rooty=-30N@2+3"])
    changing.reset(seed=4)
    found = []
    for _ in range(6):
        changing.step(np.zeros(6, np.float32))
        found.append(float(changing.unwrapped.data.xfrc_applied[1, 0]))
    assert found == [0, 100, 70, 70, -30, 0]


def test_before_its_moment_an_episode_is_the_plain_one() -> None:
    changing, plain = live.wrap(gymnasium.make("Hopper-v5"), ["limb:foot=x0.5@4 & mass:torso=x3@4"]), gymnasium.make("Hopper-v5")
    a, b = changing.reset(seed=4)[0], plain.reset(seed=4)[0]
    np.testing.assert_array_equal(a, b)
    for step in range(6):
        a, b = (each.step(np.full(3, 0.1, np.float32))[0] for each in (changing, plain))
        assert np.array_equal(a, b) == (step < 4)


def test_what_is_drawn_follows_from_the_seed() -> None:
    changing = live.wrap(gymnasium.make("HalfCheetah-v5"), ["friction=x0.4..0.95@1..3"])
    found = []
    for seed in (1, 2, 1):
        changing.reset(seed=seed)
        for _ in range(4):
            changing.step(np.zeros(6, np.float32))
        found.append(float(changing.unwrapped.model.geom_friction[0, 0]))
    assert found[0] == found[2] != found[1]
    assert all(0.16 <= value <= 0.38 for value in found)


def test_attributes_of_a_cart_pole() -> None:
    changing = live.wrap(gymnasium.make("CartPole-v1"), ["attribute:length=x2@1 & gravity=x0.5"])
    core = changing.unwrapped
    for _ in range(2):
        changing.reset(seed=0)
        assert (core.length, core.gravity) == (0.5, 4.9)
        changing.step(0)
        changing.step(1)
        assert (core.length, core.polemass_length) == (1.0, pytest.approx(0.1))
    changing.reset(seed=0)
    assert core.polemass_length == pytest.approx(0.05)
    with pytest.raises(UnknownName, match="did you mean 'length'"):
        live.wrap(gymnasium.make("CartPole-v1"), ["attribute:lenght=x2"])
    with pytest.raises(TaskError, match=r"no bodies.*attribute:masscart"):
        live.wrap(gymnasium.make("CartPole-v1"), ["limb:leg=x2"])


def test_attributes_of_a_class_are_set_for_one_environment() -> None:
    changing, plain = live.wrap(gymnasium.make("Acrobot-v1"), ["attribute:LINK_LENGTH_1=x2@3"]), gymnasium.make("Acrobot-v1")
    for _ in range(2):
        np.testing.assert_array_equal(changing.reset(seed=1)[0], plain.reset(seed=1)[0])
        assert changing.unwrapped.LINK_LENGTH_1 == 1.0
        for step in range(6):
            a, b = (each.step(0)[0] for each in (changing, plain))
            assert np.array_equal(a, b) == (step < 3)
        assert (changing.unwrapped.LINK_LENGTH_1, plain.unwrapped.LINK_LENGTH_1) == (2.0, 1.0)
    with pytest.raises(UnknownName, match="did you mean 'LINK_MASS_1'"):
        live.wrap(gymnasium.make("Acrobot-v1"), ["attribute:LINK_MAS_1=x2"])


class _Bare(gymnasium.Env[Any, Any]):
    """An environment without a number."""


def test_an_environment_without_numbers_says_so() -> None:
    with pytest.raises(TaskError, match="_Bare has no attribute that is a number"):
        live.wrap(_Bare(), ["attribute:length=x2"])


class _Single(_Bare):
    """A number of NumPy's in single precision."""

    def __init__(self) -> None:
        self.force = np.float32(0.5)


def test_a_number_of_numpys_is_one() -> None:
    made = live.wrap(_Single(), ["attribute:force=x3"])
    made.reset(seed=0)
    assert made.unwrapped.force == 1.5


class _Randomised(_Bare):
    """Its reset draws the mass; nothing but the constructor sets the drag, and nothing restores the number of steps."""

    def __init__(self) -> None:
        self.mass, self.drag, self.steps, self.seen = 1.0, 0.5, 0, 0.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.seen = self.drag
        self.mass = float(self.np_random.uniform(2, 5))
        return np.zeros(1), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return np.zeros(1), 0.0, False, False, {}


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("attribute:mass=x2", 2.0, 2.0),
        ("attribute:mass=x2@1", 1.0, 2.0),
        ("attribute:mass=x1@1", 1.0, 1.0),
        ("attribute:mass=x3 & attribute:drag=x2@1", 3.0, 3.0),
    ],
)
def test_a_factor_is_of_what_the_reset_has_drawn(text: str, before: float, after: float) -> None:
    changing, plain = live.wrap(_Randomised(), [text]), _Randomised()
    for seed in (1, 2, 1):
        changing.reset(seed=seed)
        plain.reset(seed=seed)
        assert changing.unwrapped.mass == before * plain.mass
        for _ in range(3):
            changing.step(0)
        assert changing.unwrapped.mass == after * plain.mass
    assert changing.unwrapped.steps == 9, "nothing but what was changed is taken back"


def test_a_number_is_set_behind_a_reset_that_sets_it_and_before_one_that_reads_it() -> None:
    changing = live.wrap(_Randomised(), ["attribute:mass=7 & attribute:drag=x4", "none"])
    drags = set()
    for seed in range(8):
        changing.reset(seed=seed)
        core = changing.unwrapped
        assert (core.mass == 7) == (core.drag == 2.0)
        assert core.seen == core.drag
        drags.add(core.drag)
    assert drags == {0.5, 2.0}


class _OfFew(_Bare):
    """Its reset draws a few whole numbers, so that one is often what the change has made of the last one."""

    def __init__(self) -> None:
        self.legs, self.arms = 1, 2

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.legs = int(self.np_random.integers(1, 5))
        return np.zeros(1), {}


def test_an_episode_does_not_depend_on_the_attributes_of_the_last_one() -> None:
    changing, plain = live.wrap(_OfFew(), ["attribute:legs=x2 & attribute:arms=x2"]), _OfFew()
    for seed in range(60):
        changing.reset(seed=seed)
        plain.reset(seed=seed)
        assert (changing.unwrapped.legs, changing.unwrapped.arms) == (2 * plain.legs, 4)
        assert type(changing.unwrapped.legs) is type(changing.unwrapped.arms) is int


def test_an_attribute_that_is_no_number_any_more_is_named() -> None:
    changing = live.wrap(_OfFew(), ["attribute:arms=x2"])
    changing.unwrapped.arms = None
    with pytest.raises(TaskError, match=r"'attribute:arms=x2': arms was a number when .* and is NoneType now"):
        changing.reset(seed=0)


@pytest.mark.parametrize("text", ["gravity=x0.2@5", "attribute:gravity=-2@5"])
def test_gravity_of_a_box2d_world_changes_in_mid_episode(text: str) -> None:
    pytest.importorskip("Box2D")
    changing, plain = live.wrap(gymnasium.make("LunarLander-v3"), [text]), gymnasium.make("LunarLander-v3")
    for _ in range(2):
        a, b = changing.reset(seed=3)[0], plain.reset(seed=3)[0]
        np.testing.assert_array_equal(a, b)
        for step in range(12):
            a, b = (each.step(0)[0] for each in (changing, plain))
            assert np.array_equal(a, b) == (step < 5), step
        assert a[3] > b[3] + 0.1, "it falls more slowly"
        assert changing.unwrapped.world.gravity[1] == -2


def test_gravity_of_a_box2d_world_from_the_start() -> None:
    pytest.importorskip("Box2D")
    changing = live.wrap(gymnasium.make("LunarLander-v3"), ["gravity=x0.2"])
    made = gymnasium.make("LunarLander-v3", gravity=-2.0)
    for _ in range(2):
        np.testing.assert_array_equal(changing.reset(seed=3)[0], made.reset(seed=3)[0])
        for _ in range(5):
            np.testing.assert_array_equal(changing.step(0)[0], made.step(0)[0])


def test_the_cache_is_keyed_by_content_and_safe_side_by_side(tmp_path: Path) -> None:
    first, again, other = stored("Ant-v5", "gravity=x2"), stored("Ant-v5", "gravity=x2"), stored("Ant-v5", "gravity=x3")
    assert first == again
    assert first[0] == other[0]
    assert first[1] != other[1]
    assets._copy.cache_clear()
    source = envpool.make_spec("Ant-v5").config.base_path
    threads = [threading.Thread(target=assets._copy.__wrapped__, args=(Path(source) / "mujoco" / "assets_gym",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = [each.name for each in Path(first[0]).parent.iterdir()]
    assert held == [Path(first[0]).name], "one copy, and nothing half done"
