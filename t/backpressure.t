#!/usr/bin/perl

# If this fails: one client that sends commands and never reads the replies
# makes a worker grow until it is killed, and everybody on it with it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $commands = 4000;

my $nginx = Fanout::Nginx->start(
    http   => 'fanout_zone app 16m; fanout_rate off; fanout_budget off; fanout_channel app * history=100;',
    server => q{
        location /rt {
            fanout        app;
            fanout_permit all *;
            fanout_buffer 64k;
            fanout_ping   60s;
        }
    });

my ($one) = $nginx->worker_pids;
my @near = (path => '/rt', worker => $one);

my $other = $nginx->native(@near);
$other->ok(join => channel => 'room');
$other->ok(publish => channel => 'room', data => 'x' x 3000) for 1 .. 100;
$other->drain;


# 4,000 times 300 kilobytes: more than a gigabyte if all were answered at once

my $greedy = $nginx->ws(@near);
my $all = join '', map {
    $greedy->frame(1, qq({"id":$_,"op":"history","channel":"room","limit":100}))
} 1 .. $commands;

my $before = $nginx->rss($one);
my $sent = 0;
my $most = $before;

for (1 .. 400) {
    my $n = syswrite($greedy->sock, $all, length($all) - $sent, $sent);
    $sent += $n if $n;

    $other->ok('ping') if $_ % 20 == 0;

    my $rss = $nginx->rss($one);
    $most = $rss if $rss > $most;

    last if $sent == length $all;
    select undef, undef, undef, 0.005 if !$n;
}

cmp_ok($most - $before, '<', 8 * 1024 * 1024,
       'a client that does not read does not grow the worker');

$other->send_cmd(publish => channel => 'room', data => 'still here');
is($other->next_push(5)->{data}, 'still here', 'others are served meanwhile');


# what was taken is answered in order when it reads

ok(Fanout::JSON::decode($greedy->recv_text)->{welcome}, "the welcome is first");

my ($id, $parts) = (0, 0);

for (1 .. 100000) {
    my $m = $greedy->recv_message(10) or last;
    my $reply = Fanout::JSON::decode($m->{payload});

    if ($reply->{part}) {
        $parts++;
        next;
    }

    last if !$reply->{id};
    last if $reply->{id} != $id + 1 || !$reply->{ok};
    $id++;
    last if $id == 20;
}

is($id, 20, 'the replies come in order once it reads');
cmp_ok($parts, '>', 0, 'large ones in parts');

$greedy->cut;
$other->ok('ping');

done_testing();
