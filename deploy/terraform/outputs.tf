output "dns_name" {
  description = "DNS name of the load balancer; point an alias or CNAME record to it"
  value       = aws_lb.longhaul.dns_name
}

output "zone_id" {
  description = "Hosted zone ID, for an alias record in Route 53"
  value       = aws_lb.longhaul.zone_id
}

output "target_group_arn" {
  description = "Target group for the nginx tasks or pods"
  value       = aws_lb_target_group.nginx.arn
}
