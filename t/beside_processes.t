#!/usr/bin/env perl

# The ways NGINX runs and is upgraded: if this fails, sessions are lost at an
# upgrade of the binary, a single process or a lone worker serves nobody, an
# old worker never ends, or stub_status tells of connections that are not
# there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my @daemons;

my $http = <<'END';
    fanout_zone app 8m;
    fanout_channel app * history=100;
    fanout_drain 100ms;
END

my $server = <<'END';
    location /realtime { fanout app; fanout_permit all *; }
    location /fanout/  { fanout_api app; }
    location = /status { fanout_status app; }
    location = /stub   { stub_status; }
    location = /slow   { proxy_pass http://127.0.0.1:%%PORT%%/realtime; }
END


sub talk {
    my ($what, $channel, @in) = @_;

    $_->ok('join', channel => $channel) for @in;

    for my $from (@in) {
        my $n = $from->ok('publish', channel => $channel, data => $what)
                     ->{offset};

        my $got = grep {
            $_->next_where(sub { ($_[0]{offset} // 0) == $n })
        } @in;

        is($got, scalar @in, "$what: all hear it");
    }
}


for my $n (1, 4) {
    subtest "worker_processes $n" => sub {
        my $nginx = Fanout::Nginx->start(
            workers => $n, http => $http, server => $server
        );

        talk("$n workers", 'a', map { $nginx->native(worker => $_) }
                                ($nginx->worker_pids) x 2);
    };
}


subtest 'master_process off' => sub {
    my $nginx = Fanout::Nginx->start(
        workers => 0,
        conf    => conf('', "master_process off;\ndaemon off;"),
    );

    ok(wait_for(sub {
        eval { $nginx->http->get('/status')->{status} == 200 }
    }), 'a single process') or return;

    my @in = map { $nginx->native } 1 .. 3;

    talk('single', 'a', @in);
    is($nginx->http->post('/fanout/channels/a/messages', '"api"')->{status},
       201, 'a publish');
    ok($_->next_where(sub { ($_[0]{data} // '') eq 'api' }), 'arrives')
        for @in;
    is(status($nginx)->{pid}, $nginx->master_pid, 'it is the process');
    is(status($nginx)->{zone}{limits}{workers}, 1, 'which has a slot');
};


subtest 'stub_status' => sub {
    my $nginx = Fanout::Nginx->start(
        workers => 1, http => $http, server => $server
    );
    my $ask = $nginx->http;
    my $stub = sub {
        my %s;
        my $text = $ask->get('/stub')->{body};

        @s{qw( active reading writing waiting )} = $text =~
            /Active connections: (\d+) .*Reading: (\d+) Writing: (\d+) Waiting: (\d+)/s;
        return \%s;
    };

    is($stub->()->{active}, 1, 'who asks');

    my @in = map { $nginx->native } 1 .. 20;

    is($stub->()->{active}, 21, 'sessions are active connections');
    ok(wait_for(sub { $stub->()->{writing} == 1 }), 'nobody is writing');
    is($stub->()->{reading}, 0, 'nor reading');

    talk('sessions', 'a', @in[0 .. 2]);
    $_->close for @in[0 .. 4];
    $_->cut for @in[5 .. 9];
    $_->disconnect for @in[10 .. 14];

    ok(wait_for(sub { $stub->()->{active} == 6 }), 'who leaves is gone');

    $_->disconnect for @in;
    ok(wait_for(sub { $stub->()->{active} == 1 }), 'all of them');
    is($stub->()->{writing}, 1, 'still only who asks');
    is($stub->()->{reading}, 0, 'nothing below zero either');
    is($stub->()->{waiting}, 0, 'nobody waits');
};


subtest 'worker_shutdown_timeout' => sub {
    my $nginx = Fanout::Nginx->start(
        main   => 'worker_shutdown_timeout 300ms;',
        http   => $http =~ s/100ms/1h/r,
        server => $server,
    );

    my @old = $nginx->worker_pids;
    my @in  = map { $nginx->native } 1 .. 6;

    $nginx->reload;
    ok($nginx->wait_gone(10, @old), 'old workers end in time');
    ok(wait_for(sub { $_->drain; $_->eof }), 'a session has ended')
        for @in;
    talk('new', 'a', map { $nginx->native } 1 .. 2);
};


subtest 'quit with sessions' => sub {
    my $nginx = Fanout::Nginx->start(http => $http, server => $server);
    my @in    = map { $nginx->native } 1 .. 6;

    $nginx->signal($nginx->master_pid, 'QUIT');

    for (@in) {
        is($_->wait_close, 1012, 'is told');
        $_->disconnect;
    }

    ok($nginx->stop('quit'), 'and NGINX ends');
};


# The new master inherits the sockets, has a zone of its own, and both serve
# until the old one is sent away.

subtest 'a binary upgrade' => sub {
    my $nginx = Fanout::Nginx->start(http => $http, server => $server);
    my $dir   = $nginx->dir;

    daemonize($nginx) or return fail('a daemon');

    my @old = $nginx->worker_pids;
    my $ann = $nginx->native;

    talk('before', 'a', $ann);
    kill 'USR2', $nginx->master_pid;

    my $new = wait_for(sub {
        my ($old, $pid) = map { Fanout::Nginx::slurp("$dir/$_") }
                          'nginx.pid.oldbin', 'nginx.pid';
        chomp($old, $pid);
        return $old eq $nginx->master_pid && $pid && $pid ne $old && $pid;
    });

    ok($new, 'a new master') or return;
    push @daemons, $new;

    my $born = bless { %$nginx, pid => $new }, 'Fanout::Nginx';
    my @new;

    ok(wait_for(sub { (@new = $born->worker_pids) == 2 }), 'has workers');
    talk('both', 'a', $ann);

    $nginx->signal($nginx->master_pid, 'WINCH');

    is($ann->wait_close, 1012, 'sessions of the old one are sent away');
    $ann->disconnect;
    ok($nginx->wait_gone(10, @old), 'its workers go');

    talk('new', 'a', map { $nginx->native } 1 .. 4);
    is(status($born)->{zone}{limits}{workers}, 2, 'with slots of their own');

    kill 'QUIT', $nginx->master_pid;
    ok($nginx->wait_gone(10, $nginx->master_pid), 'the old master goes');
    $nginx->{pid} = 0;

    my @in = map { $nginx->native } 1 .. 4;

    talk('alone', 'b', @in);
    $_->disconnect for @in;

    kill 'QUIT', $new;
    ok($nginx->wait_gone(10, $new, @new), 'and the new one, when told');
};


# The old master keeps its zone, so what was published before the upgrade is
# there again; what was published through the new one goes with it.

subtest 'a binary upgrade that is taken back' => sub {
    my $nginx = Fanout::Nginx->start(http => $http, server => $server);
    my $dir   = $nginx->dir;

    daemonize($nginx) or return fail('a daemon');

    my @old = $nginx->worker_pids;

    $nginx->native->ok('publish', channel => 'kept', data => 'before');
    kill 'USR2', $nginx->master_pid;

    my $new = wait_for(sub {
        my $pid = Fanout::Nginx::slurp("$dir/nginx.pid");
        chomp $pid;
        return -e "$dir/nginx.pid.oldbin" && $pid
               && $pid ne $nginx->master_pid && $pid;
    });

    ok($new, 'a new master') or return;
    push @daemons, $new;

    my $born = bless { %$nginx, pid => $new }, 'Fanout::Nginx';

    wait_for(sub { $born->worker_pids == 2 });
    $nginx->signal($nginx->master_pid, 'WINCH');
    ok($nginx->wait_gone(10, @old), 'the old workers go');

    my $there = sub {
        my $r = $nginx->native->ok('history', channel => 'kept');
        return join ' ', map { $_->{data} } @{ $r->{messages} };
    };

    is($there->(), '', 'the new ones begin with nothing');

    my $in = $nginx->native;

    $nginx->signal($nginx->master_pid, 'HUP');
    ok(wait_for(sub { $nginx->worker_pids == 2 }), 'the old master has workers');
    kill 'QUIT', $new;

    is($in->wait_close(20), 1012, 'sessions of the new one are sent away');
    $in->disconnect;
    ok($nginx->wait_gone(20, $new), 'the new master goes');
    is($there->(), 'before', 'all is as it was');
};


# Only a daemon can be upgraded: NGINX takes a master whose parent lives for
# one that was upgraded just now.

sub daemonize {
    my ($nginx) = @_;

    my $dir  = $nginx->dir;
    my $text = Fanout::Nginx::slurp("$dir/nginx.conf");

    $nginx->stop;
    $text =~ s/^daemon off;/daemon on;/m or die 'no "daemon off"';

    open my $f, '>', "$dir/nginx.conf" or die $!;
    print $f $text;
    close $f;

    system(Fanout::Nginx::binary(), '-p', $dir, '-c', "$dir/nginx.conf",
           '-e', "$dir/error.log") == 0 or die 'no daemon';

    my $pid = wait_for(sub {
        Fanout::Nginx::slurp("$dir/nginx.pid") =~ /^(\d+)$/ && $1;
    }) or die 'no pid';

    push @daemons, $pid;
    $nginx->{pid} = $pid;

    return wait_for(sub { $nginx->worker_pids == 2 });
}


END {
    my $status = $?;

    kill 'TERM', $_ for grep {
        Fanout::Nginx::slurp("/proc/$_/cmdline") =~ /^nginx: master/
    } @daemons;

    $? = $status;
}


sub status { $_[0]->http->get('/status')->json }


sub conf {
    my ($more, $main) = @_;

    my $module = $ENV{TEST_NGINX_MODULE}
               // "$FindBin::Bin/../build/ngx_http_fanout_module.so";
    my $load = length $module ? "load_module $module;" : '';
    my $user = $> == 0 ? 'user root;' : '';

    return <<"END";
$load
$user
$main
pid %%DIR%%/nginx.pid;
error_log %%DIR%%/error.log info;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path %%DIR%%/temp/body;
    proxy_temp_path %%DIR%%/temp/proxy;
    fastcgi_temp_path %%DIR%%/temp/fastcgi;
    uwsgi_temp_path %%DIR%%/temp/uwsgi;
    scgi_temp_path %%DIR%%/temp/scgi;
    $http
    server { listen 127.0.0.1:%%PORT%%; $server $more }
}
END
}


done_testing();
