"""The client of Vertex AI without the services that are not used, in a process that has imported nothing yet."""

import subprocess
import sys

ASKED = """
import sys
from pipelines.targets.vertex.services import service, types
client = service("schedule_service").ScheduleServiceClient
job = types("pipeline_job").PipelineJob
there = {name.split(".")[4] for name in sys.modules if name.startswith("google.cloud.aiplatform_v1.services.")}
assert there <= {"schedule_service", "pipeline_service"}, there
import google.cloud.aiplatform_v1 as whole
assert whole.ScheduleServiceClient is client
assert whole.types.PipelineJob is job
assert whole.types.CustomJob and whole.PipelineServiceAsyncClient and whole.__version__
assert not hasattr(whole, "absent")
from google.cloud import aiplatform
assert aiplatform.PipelineJob
"""


def test_only_the_services_that_are_used_are_imported_and_whoever_wants_all_gets_them():
    done = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
