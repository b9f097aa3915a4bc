"""Stages: one environment of a task, played as in a rollout and drawn without a display. `open_stage` finds the one for a task.

Promise: the world that is drawn is the one that is stepped, and where its simulator is the run's it steps as it does in a
rollout, so the rewards of an episode on a stage add up to the return that an evaluation tells of the same start.
Renderers: EnvPool draws its classic and Box2D tasks, Gymnasium's renderers all else, PyBullet's software renderer the Bullet ant.
EnvPool's own MuJoCo renderer, which draws the robots that Gymnasium lacks, is called in a process of its own: where it finds no OpenGL
it ends the process (see `envpool_robots`).
"""
