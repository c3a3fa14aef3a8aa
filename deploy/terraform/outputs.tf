output "dns_name" {
  description = "Point the service's name here (alias or CNAME)"
  value       = aws_lb.longhaul.dns_name
}

output "zone_id" {
  description = "For an alias record in Route 53"
  value       = aws_lb.longhaul.zone_id
}

output "target_group_arn" {
  description = "Register the nginx tasks or pods here"
  value       = aws_lb_target_group.nginx.arn
}
