"""The tasks of the DeepMind Control suite and of MuJoCo Playground that EnvPool has, with the numbers that a network sees and gives.

Each is `ID OBSERVED ACTIONS`; `MuJoCoPlayground/ID` is the same task.
"""

from __future__ import annotations

_DM_CONTROL = """
AcrobotSwingup-v1 6 1, AcrobotSwingupSparse-v1 6 1, BallInCupCatch-v1 8 2, CartpoleBalance-v1 5 1,
CartpoleBalanceSparse-v1 5 1, CartpoleSwingup-v1 5 1, CartpoleSwingupSparse-v1 5 1, CartpoleThreePoles-v1 11 1,
CartpoleTwoPoles-v1 8 1, CheetahRun-v1 17 6, DogFetch-v1 232 38, DogRun-v1 232 38, DogStand-v1 232 38, DogTrot-v1 232 38,
DogWalk-v1 232 38, FingerSpin-v1 12 2, FingerTurnEasy-v1 12 2, FingerTurnHard-v1 12 2, FishSwim-v1 24 5,
FishUpright-v1 24 5, HopperHop-v1 15 4, HopperStand-v1 15 4, HumanoidRun-v1 95 21, HumanoidRunPureState-v1 95 21,
HumanoidStand-v1 95 21, HumanoidWalk-v1 95 21, HumanoidCMURun-v1 137 56, HumanoidCMUStand-v1 137 56,
HumanoidCMUWalk-v1 137 56, LqrLqr21-v1 4 1, LqrLqr62-v1 12 2, ManipulatorBringBall-v1 44 5, ManipulatorBringPeg-v1 44 5,
ManipulatorInsertBall-v1 44 5, ManipulatorInsertPeg-v1 44 5, PendulumSwingup-v1 3 1, PointMassEasy-v1 4 2,
PointMassHard-v1 4 2, QuadrupedEscape-v1 113 12, QuadrupedFetch-v1 113 12, QuadrupedRun-v1 113 12, QuadrupedWalk-v1 113 12,
ReacherEasy-v1 6 2, ReacherHard-v1 6 2, StackerStack2-v1 49 5, StackerStack4-v1 63 5, SwimmerSwimmer6-v1 25 5,
SwimmerSwimmer15-v1 61 14, WalkerRun-v1 24 6, WalkerStand-v1 24 6, WalkerWalk-v1 24 6
"""
_PLAYGROUND = """
AlohaHandOver-v1 83 14, AlohaSinglePegInsertion-v1 82 14, ApolloJoystickFlatTerrain-v1 112 32, BarkourJoystick-v1 465 12,
BerkeleyHumanoidJoystickFlatTerrain-v1 52 12, BerkeleyHumanoidJoystickRoughTerrain-v1 52 12,
G1JoystickFlatTerrain-v1 103 29, G1JoystickRoughTerrain-v1 103 29, Go1JoystickFlatTerrain-v1 48 12,
Go1JoystickRoughTerrain-v1 48 12, Go1Getup-v1 42 12, Go1Handstand-v1 45 12, Go1Footstand-v1 45 12,
H1InplaceGaitTracking-v1 186 19, H1JoystickGaitTracking-v1 113 19, LeapCubeReorient-v1 57 16, LeapCubeRotateZAxis-v1 32 16,
Op3Joystick-v1 147 20, PandaPickCube-v1 66 8, PandaPickCubeCartesian-v1 70 3, PandaPickCubeOrientation-v1 66 8,
PandaOpenCabinet-v1 55 8, PandaRobotiqPushCube-v1 48 7, AeroCubeRotateZAxis-v1 14 7, SpotFlatTerrainJoystick-v1 81 12,
SpotGetup-v1 30 12, SpotJoystickGaitTracking-v1 69 12, T1JoystickFlatTerrain-v1 85 23, T1JoystickRoughTerrain-v1 85 23
"""


def rows() -> list[tuple[str, str, int, int]]:
    """Family, id, numbers of an observation (without `privileged_state`) and numbers of an action."""
    found = []
    for family, table in (("dm_control", _DM_CONTROL), ("playground", _PLAYGROUND)):
        for row in table.replace("\n", " ").split(","):
            id, observed, actions = row.split()
            found.append((family, id, int(observed), int(actions)))
    return found
