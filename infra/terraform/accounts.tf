# Accounts, none of which can do what another is for. Roles on single resources wherever Google Cloud has them.
resource "google_service_account" "of" {
  for_each = {
    pipeline = "Steps of pipelines"
    dataflow = "Workers of Dataflow"
    mlflow   = "The MLflow server"
    submit   = "Submitters, where a service account is asked for"
    images   = "CI, which pushes images"
  }
  account_id   = "${var.name}-${each.key}"
  display_name = each.value
  depends_on   = [google_project_service.used]
}

locals {
  accounts = { for name, account in google_service_account.of : name => account.member }

  project_roles = {
    pipeline = [
      "roles/aiplatform.user",    # starts its custom jobs
      "roles/dataflow.developer", # and its Dataflow jobs
      "roles/logging.logWriter",
    ]
    dataflow = ["roles/dataflow.worker"]
    mlflow   = ["roles/logging.logWriter"]
  }
}

resource "google_project_iam_member" "of" {
  for_each = merge([
    for name, roles in local.project_roles : { for role in roles : "${name} ${role}" => { name = name, role = role } }
  ]...)
  project = var.project
  role    = each.value.role
  member  = local.accounts[each.value.name]
}

# MLflow reads and writes its own folder only, though it may list all names: to list is a right on the bucket. Pipelines
# and their workers have all but that folder.
resource "google_storage_bucket_iam_member" "mlflow" {
  bucket = google_storage_bucket.artifacts.name
  role   = "roles/storage.objectUser"
  member = local.accounts.mlflow

  condition {
    title      = "its own folder"
    expression = "resource.type == 'storage.googleapis.com/Bucket' || resource.name.startsWith('projects/_/buckets/${google_storage_bucket.artifacts.name}/objects/mlflow/')"
  }
}

resource "google_storage_bucket_iam_member" "runs" {
  for_each = toset(["pipeline", "dataflow"])
  bucket   = google_storage_bucket.artifacts.name
  role     = "roles/storage.objectUser"
  member   = local.accounts[each.key]

  condition {
    title      = "all but MLflow's folder"
    expression = "!resource.name.startsWith('projects/_/buckets/${google_storage_bucket.artifacts.name}/objects/mlflow/')"
  }
}

# Vertex AI and Dataflow look at the bucket itself before they use it.
resource "google_storage_bucket_iam_member" "look" {
  for_each = toset(["pipeline", "dataflow"])
  bucket   = google_storage_bucket.artifacts.name
  role     = "roles/storage.legacyBucketReader"
  member   = local.accounts[each.key]
}

resource "google_artifact_registry_repository_iam_member" "pull" {
  for_each   = toset(["pipeline", "dataflow"])
  repository = google_artifact_registry_repository.images.name
  location   = var.location
  role       = "roles/artifactregistry.reader"
  member     = local.accounts[each.key]
}

# Whoever submits can do it as they are. IAP, though, lets people in by a browser only, so that what asks MLflow from
# outside must be a service account: each of them may act as `submit`, which can do what they can.
locals {
  submitters = merge({ for member in var.submitters : member => member }, { submit = local.accounts.submit })
}

# To act as an account is a right on that account: the pipeline's steps start custom jobs as themselves and Dataflow's
# workers as theirs, and who submits a pipeline lets it act as the pipeline's.
resource "google_service_account_iam_member" "act_as" {
  for_each = merge(
    { for name in ["pipeline", "dataflow"] : name => { of = name, by = local.accounts.pipeline } },
    { for name, member in local.submitters : name => { of = "pipeline", by = member } },
  )
  service_account_id = google_service_account.of[each.value.of].name
  role               = "roles/iam.serviceAccountUser"
  member             = each.value.by
}

# Who asks MLflow tells IAP who it is by a token that its account signs of itself (components/tracking/iap.py).
resource "google_service_account_iam_member" "sign" {
  for_each = merge(
    { for name in ["pipeline", "submit"] : name => { of = name, by = local.accounts[name] } },
    { for member in var.submitters : member => { of = "submit", by = member } },
  )
  service_account_id = google_service_account.of[each.value.of].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = each.value.by
}

resource "google_project_iam_member" "submit" {
  for_each = merge([
    for name, member in local.submitters : {
      for role in [
        "roles/aiplatform.user",
        "roles/logging.viewer", # elboflow logs
      ] : "${name} ${role}" => { member = member, role = role }
    }
  ]...)
  project = var.project
  role    = each.value.role
  member  = each.value.member
}

resource "google_artifact_registry_repository_iam_member" "publish" {
  for_each   = local.submitters
  repository = google_artifact_registry_repository.pipelines.name
  location   = var.location
  role       = "roles/artifactregistry.writer"
  member     = each.value
}

resource "google_storage_bucket_iam_member" "submit" {
  for_each = local.submitters
  bucket   = google_storage_bucket.artifacts.name
  role     = "roles/storage.legacyBucketReader"
  member   = each.value
}
