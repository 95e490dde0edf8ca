#!/usr/bin/env perl

# docs/status.md against the status. If this fails, somebody who builds on the
# JSON or on the metrics reads of one that isn't there, or never learns of one
# that is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => 'fanout_zone app 8m; fanout_channel app * history=10 presence=on;',
    server => 'location /fanout/  { fanout_api app; }
               location /realtime { fanout app; fanout_permit all *; }
               location = /status { fanout_status app; }',
);

my $http = $nginx->http(worker => ($nginx->worker_pids)[0]);

open my $f, '<', "$FindBin::Bin/../docs/status.md" or die "status.md: $!";
my $doc = do { local $/; <$f> };


sub source {
    my ($name) = @_;

    open my $f, '<', "$FindBin::Bin/../src/$name" or die "$name: $!";
    local $/;

    return readline $f;
}

sub list_of {
    my ($text, $macro) = @_;

    my ($list) = $text =~ /define $macro\(_\)(.*?)\n\n/s;

    return $list =~ /_\((\w+)[,)]/g;
}

my $zone     = source('zone/stat.h') . source('zone/zone.h');
my @counters = list_of($zone, 'FANOUT_COUNTERS');
my @shares   = list_of($zone, 'FANOUT_SHARES');
my @series   = (list_of($zone, 'FANOUT_RATES'),
                list_of($zone, 'FANOUT_ZONE_RATES'),
                list_of($zone, 'FANOUT_GAUGES'));


# members by their paths; those of counters, series and shares go by lists of their own

my %real;

sub walk {
    my ($value, $path) = @_;

    if (ref $value eq 'HASH') {
        if ($path =~ /(?:^|\.)(?:counters|series|shares)$/) {
            my @names = $path =~ /series$/ ? @series : $path =~ /shares$/ ? @shares : @counters;

            is(join(' ', sort keys %$value), join(' ', sort @names),
               "$path: those of the source");

            walk((values %$value)[0], "$path.*");
            return;
        }

        walk($value->{$_}, length $path ? "$path.$_" : $_) for keys %$value;

    } elsif (ref $value eq 'ARRAY') {
        ok(scalar @$value, "$path: there are some");
        walk($_, $path . '[]') for @$value;

    } else {
        $real{$path} = 1;
    }
}


$http->post('/fanout/channels/a/messages', '1');
$http->get('/realtime', headers => { 'Sec-Fetch-Site' => 'cross-site' });
$http->get('/status?busiest=1');

my $status = wait_for(sub {
    my $s = $http->get('/status?history=1&busiest=1')->json;
    return $s->{history}{samples} && @{ $s->{busiest}{channels} || [] } && $s;
}, 30);

ok($status, 'a sample was taken, a channel was seen') or exit;

walk($status, '');

my ($json) = $doc =~ /^## JSON\n(.*?)^## /ms;
my %said   = map { $_ => 1 } $json =~ /^\| `([^`]+)` \|/mg;

is_deeply([ grep { !$said{$_} } sort keys %real ], [], 'every member is described');
is_deeply([ grep { !$real{$_} } sort keys %said ], [], 'every one described is there');

my ($paragraph) = $json =~ /^(Some series are.*?)\n\n/ms;

is_deeply([ sort grep { !/^(?:ms|bytes)$/ } $paragraph =~ /`(\w+)`/g ], [ sort @series ],
          'every series');

is_deeply([ grep { $status->{counters}{$_} !~ /^\d+$/ } @counters ], [],
          'counters are numbers');


# metrics

my ($metrics) = $doc =~ /^## Prometheus\n(.*?)^## /ms;
my %told = map { $_ => 1 } $metrics =~ /^\| `(nginx_fanout_\w+)` \|/mg;
my %counter = map { ("nginx_fanout_${_}_total" => 1, "nginx_fanout_worker_${_}_total" => 1) }
              @counters;

# the samples of a histogram have its name and what they are

my %there = map { s/(?<=_seconds)_(?:bucket|sum|count)$//r => 1 }
            $http->get('/status?format=prometheus')->{body} =~ /^(nginx_fanout_\w+)\{/mg;

ok(delete $told{"nginx_fanout_${_}COUNTER_total"}, "${_}counters are told of")
    for '', 'worker_';

is_deeply([ grep { !$there{$_} } sort keys %counter ], [], 'every counter is a metric');
is_deeply([ grep { !$told{$_} && !$counter{$_} } sort keys %there ], [],
          'every metric is described');
is_deeply([ grep { !$there{$_} } sort keys %told ], [], 'every one described is there');

# what the page builds on

my ($uses) = source('status/status.html') =~ /^const specs = \[(.*?)^\];/ms;
my %series = map { $_ => 1 } @series;
my @drawn  = $uses =~ /\["(\w+)",/g;

is_deeply([ grep { !$series{$_} } @drawn ], [], 'the page draws what there is');
