output "targets_vertex" {
  description = "The section `targets.vertex` of an experiment: terraform output -json targets_vertex"
  value = {
    project         = var.project
    location        = var.location
    root            = "gs://${google_storage_bucket.artifacts.name}/pipelines"
    image           = { for kind in ["cpu", "cuda", "tpu"] : kind => local.images[kind] }
    tracking_uri    = google_cloud_run_v2_service.mlflow.uri
    service_account = google_service_account.of["pipeline"].email
    encryption_key  = google_kms_crypto_key.artifacts.id
    repository      = "https://${var.location}-kfp.pkg.dev/${var.project}/${google_artifact_registry_repository.pipelines.repository_id}"
    labels          = { application = var.name }
    runner = {
      kind            = "dataflow"
      service_account = google_service_account.of["dataflow"].email
      subnetwork      = "regions/${var.location}/subnetworks/${google_compute_subnetwork.this.name}"

      public_addresses = false
    }
  }
}

output "webhook" {
  description = "For `secrets: {ELBOFLOW_WEBHOOK: …}` of targets.vertex, once a version is there."
  value       = "${google_secret_manager_secret.webhook.id}/versions/latest"
}

output "registry" {
  description = "REGISTRY of infra/images/build.sh."
  value       = local.host
}

output "submitter" {
  description = "Whom submitters act as to reach MLflow: gcloud auth application-default login --impersonate-service-account=…"
  value       = google_service_account.of["submit"].email
}

output "github_variables" {
  description = "The variables of the GitHub repository that .github/workflows/images.yaml asks for."
  value = var.github_repository == null ? null : {
    REGISTRY                   = local.host
    SERVICE_ACCOUNT            = google_service_account.of["images"].email
    WORKLOAD_IDENTITY_PROVIDER = google_iam_workload_identity_pool_provider.github[0].name
  }
}
